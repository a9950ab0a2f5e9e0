"""One event, sent once to one endpoint."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.webhooks import signing
from tunesmith.platform.webhooks.addresses import check_url, not_public

from .guard import NotPublic, PublicOnly, guarded_connector

TIMEOUT_SECONDS = 15.0
"""Longest wait for an answer, connecting included (Standard Webhooks: 15 to 30 s)."""


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: the answer's status, or none and why there was no answer."""

    status: int | None
    why: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint has it: any 2xx."""
        return self.status is not None and HTTPStatus(200) <= self.status < HTTPStatus(300)

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants nothing more."""
        return self.status == HTTPStatus.GONE


class WebhookSender:
    """Sends events. To be used from one event loop.

    Args:
        private: whether addresses of private networks, and plain http, are allowed.
        seconds: after which an attempt is given up.
    """

    def __init__(
        self,
        *,
        private: bool,
        seconds: float = TIMEOUT_SECONDS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._private = private
        self._seconds = seconds
        self._resolver = resolver or PublicOnly()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> WebhookSender:
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(private=self._private),
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy would connect in our place, to whatever address it likes
            headers={"user-agent": "Tunesmith-Webhooks/1"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self, url: str) -> None:
        """Refuse a URL that nothing will be sent to.

        Raises:
            InvalidRequest: it is no https URL, or its host has no public address now.
        """
        host = check_url(url, private=self._private)
        if self._private:
            return
        try:
            async with asyncio.timeout(self._seconds):
                await self._resolver.resolve(host)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise not_public() from error

    async def send(self, url: str, signed_by: Sequence[str], event: dict[str, Any]) -> Outcome:
        """Send `event`, signed now. The answer's body is not read, and no redirect is followed."""
        assert self._session is not None
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
        headers = signing.headers(signed_by, event["id"], int(time.time()), body)
        try:
            check_url(url, private=self._private)
            async with self._session.post(
                url,
                data=body,
                headers=headers | {"content-type": "application/json"},
                allow_redirects=False,
            ) as answer:
                outcome = Outcome(answer.status, f"It answered {answer.status}.")
                return replace(outcome, why=None) if outcome.is_taken else outcome
        except InvalidRequest as error:
            return Outcome(None, error.message)
        except TimeoutError:
            return Outcome(None, f"There was no answer within {self._seconds:g} s.")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if _is_refused(error):
                return Outcome(None, not_public().message)
            return Outcome(None, f"The connection failed ({type(error).__name__}).")


def _is_refused(error: BaseException) -> bool:
    """Whether the guard is behind an error of aiohttp's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, NotPublic) or isinstance(getattr(seen, "os_error", None), NotPublic):
            return True
        seen = seen.__cause__
    return False
