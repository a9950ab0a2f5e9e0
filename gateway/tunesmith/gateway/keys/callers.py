"""Who sends a request, by the text after `Bearer`: a key of ours, or a token of the issuer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tunesmith.gateway.auth import look_up, look_up_token
from tunesmith.gateway.oidc import Token, TokenVerifier
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import NotAuthenticated
from tunesmith.platform.settings import Settings
from tunesmith.platform.tenants import Caller, has_expired, incorrect_key

from .answers import Answers
from .issuer import IssuerKeys

CALLER_SECONDS = 1.0
"""How long a key's check is believed: a revoked key stops within this time on every gateway."""

MAX_KEY = 1024
"""Longest key, in characters: what is longer is none of ours, and is not kept to remember it."""


class Callers:
    """Callers, each known for a second. Expiry counts at its moment all the same.

    Args:
        look_up: who a key belongs to, by the database.
        look_up_token: who a verified token speaks for, by the database.
        tokens: verifies the issuer's tokens; None: there is no issuer.
    """

    def __init__(
        self,
        look_up: Callable[[str], Caller],
        look_up_token: Callable[[Token], Caller],
        tokens: TokenVerifier | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys: Answers[str] = Answers(look_up, seconds=CALLER_SECONDS)
        self._tokens: Answers[Token] = Answers(look_up_token, seconds=CALLER_SECONDS)
        self._verifier = tokens
        self._clock = clock

    async def get(self, bearer: str) -> Caller:
        """Who sends `bearer`.

        Raises:
            NotAuthenticated: it is no key and no token that counts, or not any more.
            NotPermitted: its tenant is suspended.
            Unavailable: the database, or the issuer, cannot be asked.
        """
        if self._verifier is not None and self._verifier.is_ours(bearer):
            caller = await self._tokens.get(await self._verifier.verify(bearer))
            if has_expired(caller.expires_at, self._clock()):
                raise NotAuthenticated("The bearer token has expired: get another.")
            return caller
        if len(bearer) > MAX_KEY:
            raise incorrect_key(bearer)
        caller = self._keys.known(bearer) or await self._keys.get(bearer)
        if has_expired(caller.expires_at, self._clock()):
            raise incorrect_key(bearer)
        return caller

    def forget_where(self, matches: Callable[[Caller], bool]) -> None:
        """Ask again for every caller that `matches`: its key or its tenant was changed here."""
        self._keys.forget_where(matches)
        self._tokens.forget_where(matches)


@asynccontextmanager
async def open_callers(database: Database, settings: Settings) -> AsyncIterator[Callers]:
    """The callers of a gateway, by its database and by the issuer of its settings, if any."""
    async with AsyncExitStack() as parts:
        verifier = None
        if settings.oidc_issuer is not None:
            keys = await parts.enter_async_context(IssuerKeys(settings.oidc_issuer))
            verifier = TokenVerifier(settings, keys)
        yield Callers(partial(look_up, database), partial(look_up_token, database), verifier)
