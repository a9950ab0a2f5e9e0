"""The public keys of the OIDC issuer: found by its discovery document, kept, asked for again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

import aiohttp
import jwt
import structlog

from tunesmith.platform.domain.errors import NotAuthenticated, Unavailable

log = structlog.get_logger(__name__)

_KINDS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
ALGORITHMS = tuple(_KINDS)
"""Signatures that count; all with a public key, so that who can check one cannot make one."""

_CURVES = {"ES256": "P-256", "EdDSA": "Ed25519"}

RETRY_SECONDS = 30.0
"""Shortest time between two questions to the issuer, whatever tokens come."""

FRESH_SECONDS = 600.0
"""After this time keys are asked for again: one that the issuer withdrew stops to count."""

KEPT_SECONDS = 24 * 3600.0
"""How long keys count on where the issuer does not answer."""

_SECONDS = 5.0
_MAX_BYTES = 1024 * 1024


class _Fault(Exception):
    """What the issuer sent is not what an issuer sends."""


class IssuerKeys:
    """The keys of `issuer`; an async context manager. For one event loop."""

    def __init__(self, issuer: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: list[dict[str, Any]] = []
        self._made: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._fetched_at = -KEPT_SECONDS
        self._next_try = clock()
        self._failure: str | None = None
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key named `kid`, or the only one, for an algorithm of `ALGORITHMS`.

        Raises:
            NotAuthenticated: the issuer has no such key.
            Unavailable: the issuer cannot be asked, and no such key is known.
        """
        age = self._clock() - self._fetched_at
        if age > FRESH_SECONDS:
            await self._refresh()
        if self._clock() - self._fetched_at > KEPT_SECONDS:
            self._take([])
        found = self._match(kid, algorithm)
        if found is None:
            await self._refresh()
            found = self._match(kid, algorithm)
        if found is not None:
            return found
        if self._failure is not None:
            raise Unavailable(
                "The bearer token cannot be verified now: its issuer does not give its keys"
                f" ({self._failure}).",
                retry_after=max(1, round(self._next_try - self._clock())),
                code="issuer_unavailable",
            )
        raise NotAuthenticated(
            f"The bearer token is signed with a key that its issuer does not have (kid {kid!r:.80},"
            f" {algorithm})."
        )

    def _match(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        made = self._made.get((kid, algorithm))
        if made is not None:
            return made
        fitting = [
            key
            for key in self._keys
            if key.get("kty") == _KINDS[algorithm]
            and key.get("crv") == _CURVES.get(algorithm)
            and key.get("alg") in (None, algorithm)
            and key.get("use") in (None, "sig")
            and (kid is None or key.get("kid") == kid)
        ]
        if len(fitting) != 1:
            return None
        try:
            made = jwt.PyJWK(fitting[0], algorithm)
        except jwt.PyJWTError as error:
            log.warning("a key of the OIDC issuer is not usable", kid=kid, error=str(error))
            return None
        self._made[kid, algorithm] = made
        return made

    async def _refresh(self) -> None:
        async with self._asking:
            if self._clock() < self._next_try:
                return
            try:
                keys = await self._fetch()
            except (_Fault, aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
                self._failure = str(error) or type(error).__name__
                log.warning("no keys from the OIDC issuer", error=self._failure)
            else:
                self._failure = None
                self._fetched_at = self._clock()
                self._take(keys)
            self._next_try = self._clock() + RETRY_SECONDS

    def _take(self, keys: list[dict[str, Any]]) -> None:
        self._keys = keys
        self._made = {}

    async def _fetch(self) -> list[dict[str, Any]]:
        document = await self._get(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        # As OpenID Connect Discovery 1.0 section 4.3 has it: else anyone's document would do.
        if document.get("issuer") != self._issuer:
            raise _Fault(f"its discovery document names the issuer {document.get('issuer')!r:.200}")
        keys = (await self._get(str(document.get("jwks_uri")))).get("keys")
        if not isinstance(keys, list):
            raise _Fault("its key set has no list of keys")
        return [key for key in keys if isinstance(key, dict)]

    async def _get(self, url: str) -> dict[str, Any]:
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise _Fault(f"{url} answered {answer.status}")
            raw = bytearray()
            async for piece in answer.content.iter_any():
                raw += piece
                if len(raw) > _MAX_BYTES:
                    raise _Fault(f"{url} sent more than {_MAX_BYTES} bytes")
        value = json.loads(bytes(raw))
        if not isinstance(value, dict):
            raise _Fault(f"{url} sent no JSON object")
        return value
