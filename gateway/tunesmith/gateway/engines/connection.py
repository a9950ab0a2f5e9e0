"""The HTTP client to engines."""

from __future__ import annotations

import socket
import ssl
from contextlib import AbstractAsyncContextManager
from typing import Any, TypedDict

import aiohttp

from .trust import EngineTrust, why_not

CONNECT_SECONDS = 2.0

# vLLM closes a connection that was idle for 5 s. One that is about to be closed must not be taken
# for a request: its end before the first byte could not be told from an engine's death.
IDLE_SECONDS = 2.0

# A machine that vanishes sends no RST; a generation may be silent for long. After 5 s of silence,
# three probes 5 s apart find it out.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class EngineSession:
    """aiohttp's client without limits of its own: no total time, any number of connections.

    To be made in the event loop that uses it.
    """

    def __init__(self, trust: EngineTrust) -> None:
        self._trust = trust
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=IDLE_SECONDS, socket_factory=_socket
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def get(
        self, engine_url: str, path: str, *, timeout: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The answer to a GET of `path`, for as long as it is entered."""
        return self._session.get(engine_url + path, timeout=timeout, **self._tls(engine_url))

    def post(
        self, engine_url: str, path: str, *, json: Any, timeout: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The answer to a POST, for as long as it is entered."""
        return self._session.post(
            engine_url + path, json=json, timeout=timeout, **self._tls(engine_url)
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def _tls(self, engine_url: str) -> _TlsOptions:
        if not engine_url.startswith("https:"):
            return {}
        return {"ssl": self._trust.context, "server_hostname": self._trust.name_of(engine_url)}


class _TlsOptions(TypedDict, total=False):
    ssl: ssl.SSLContext
    server_hostname: str | None


def words(error: aiohttp.ClientError) -> str:
    """Why there was no answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return why_not(cause)
    return str(error)


def _socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    keep_probing(made)
    return made


def keep_probing(made: Any) -> None:
    """Have a connected socket find out that its other end has vanished."""
    if made.family in (socket.AF_INET, socket.AF_INET6):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
