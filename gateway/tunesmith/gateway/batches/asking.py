"""One request of a batch, asked until it is answered for good."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, Protocol

import structlog

from tunesmith.platform.batches.segments import Answer
from tunesmith.platform.domain.ids import batch_request_id

from .lines import Line

log = structlog.get_logger(__name__)

ENGINE_FAILURES = 5
"""How often an engine may fail on one request before that is its answer: it may be the request."""

MAX_REFUSALS = 60
"""How often 503 is waited out, with pauses of up to a minute: an hour without any engine."""

_FAULT = "The gateway failed on this request. The administrator finds out why in its logs."

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Answered(Protocol):
    """An answer: the HTTP status and JSON body that a client would have got."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def request_id(self) -> str: ...


class Ask(Protocol):
    """Answers a request of a tenant at low priority; does not raise for what is refused."""

    def __call__(
        self, *, tenant_id: str, key_id: str, path: str, body: dict[str, Any]
    ) -> Awaitable[Answered]:
        """The answer to `body` at `path`."""
        ...


Sleep = Callable[[float], Awaitable[None]]


async def answer_line(
    ask: Ask,
    line: Line,
    slot: AbstractAsyncContextManager[Any],
    *,
    tenant_id: str,
    key_id: str,
    path: str,
    sleep: Sleep = asyncio.sleep,
) -> Answer:
    """The line of the output or error file for a request.

    429 is waited out for as long as the batch lasts (its end cancels this), 503 for a while.

    Args:
        slot: held while an engine is asked, and not in the pauses.
    """
    refusals = failures = 0
    while True:
        try:
            async with slot:
                found = await ask(tenant_id=tenant_id, key_id=key_id, path=path, body=line.body)
        except Exception:
            # A mistake of ours: the request has failed, and the others of its batch need not.
            log.exception("request of a batch failed", line=line.number)
            return refused(line.custom_id, "internal_error", _FAULT)
        body = _json(found.body)
        if found.status == HTTPStatus.SERVICE_UNAVAILABLE:
            refusals += 1
            failures += _code(body) == "engine_error"
            waits = failures < ENGINE_FAILURES and refusals < MAX_REFUSALS
        else:
            waits = found.status == HTTPStatus.TOO_MANY_REQUESTS
            refusals += waits
        if not waits:
            return _line(
                line.custom_id,
                {"status_code": found.status, "request_id": found.request_id, "body": body},
                None,
            )
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(refusals - 1, 10))
        await sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load


def refused(custom_id: str, code: str, message: str) -> Answer:
    """The line of the error file for a request that was not asked."""
    return _line(custom_id, None, {"code": code, "message": message})


def _line(custom_id: str, response: dict[str, Any] | None, error: dict[str, str] | None) -> Answer:
    return {
        "id": batch_request_id(),
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {"error": {"message": body.decode(errors="replace")[:500]}}


def _code(body: Any) -> Any:
    error = body.get("error") if isinstance(body, dict) else None
    return error.get("code") if isinstance(error, dict) else None
