"""The HTTP client to engines."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp

CONNECT_SECONDS = 2.0

# vLLM closes a connection that was idle for 5 s. One that is about to be closed must not be taken
# for a request: its end before the first byte could not be told from an engine's death.
IDLE_SECONDS = 2.0

# A machine that vanishes sends no RST; a generation may be silent for long. After 5 s of silence,
# three probes 5 s apart find it out.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


def open_session() -> aiohttp.ClientSession:
    """A client without limits of its own: no total time, any number of connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=IDLE_SECONDS, socket_factory=_socket
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


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
