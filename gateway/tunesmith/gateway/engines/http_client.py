"""HTTP/1.1 to engines on connections that stay open; what a generation needs, and no more.

aiohttp's client takes four times as long for a request (docs/decisions/0015-hot-path.md); it
still does what is not on every request's way: looks at engines, loading and unloading.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from .answer import Answer
from .connection import CONNECT_SECONDS, IDLE_SECONDS
from .http_connection import Connection
from .trust import EngineTrust, why_not

_OURS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN)
)
_MOST_ADDRESSES = 1000


class ConnectionFailed(Exception):
    """No connection to the engine could be made: it has seen nothing of the request."""


class NotAccepted(ConnectionFailed):
    """It did not take the connection in time: it may be busy, or its machine gone."""


class NoSocket(ConnectionFailed):
    """This process has no file or port left for a connection; the engine is not to blame."""


@dataclass(frozen=True)
class Address:
    """Where an engine listens, and what its requests begin with."""

    host: str
    port: int
    is_tls: bool
    prefix: bytes
    host_header: bytes

    @classmethod
    def of(cls, url: str) -> Address:
        """The address of a base URL; a path in it stands before every request's."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        host_header = parts.netloc.rpartition("@")[2].encode()
        return cls(parts.hostname or "", port, is_tls, parts.path.rstrip("/").encode(), host_header)


class EngineClient:
    """Connections to all engines; to be used in one event loop, and closed in it.

    Args:
        trust: for `https` engines; the system's authorities are believed by default.
    """

    def __init__(self, trust: EngineTrust | None = None) -> None:
        self._trust = trust or EngineTrust()
        self._addresses: dict[str, Address] = {}
        self._idle: dict[str, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(
        self, url: str, path: str, headers: bytes, body: bytes, *, fresh: bool = False
    ) -> Answer:
        """Send a request to the engine at `url`; its answer once its head is here.

        Args:
            headers: lines `name: value` with their ends, beside those of every request.
            fresh: over a connection of its own.

        Raises:
            ConnectionFailed: it takes no connection.
            AnswerLost: it was gone before its answer's head was here.
        """
        address = self._addresses.get(url) or self._address(url)
        request = (
            b"POST %b%b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"accept: application/json, text/event-stream\r\ncontent-length: %d\r\n%b\r\n"
            % (address.prefix, path.encode(), address.host_header, len(body), headers)
        )
        connection = None if fresh else self._take(url)
        if connection is None:
            connection = await self._connect(url, address)
        return await connection.ask(request, body)

    @property
    def open_connections(self) -> int:
        """Connections that are open, in use or idle."""
        return len(self._open)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # transports tell of their end in the loop's next turn

    def _address(self, url: str) -> Address:
        if len(self._addresses) >= _MOST_ADDRESSES:  # pods come and go
            self._addresses.clear()
        address = self._addresses[url] = Address.of(url)
        return address

    def _take(self, url: str) -> Connection | None:
        idle = self._idle.get(url)
        # The last used first: the others may grow old and be closed.
        while idle:
            connection = idle.pop()
            if connection.is_usable and connection.idle_since + IDLE_SECONDS > monotonic():
                return connection
            connection.abort()
        return None

    async def _connect(self, url: str, address: Address) -> Connection:
        tls = name = None
        if address.is_tls:
            tls, name = self._trust.context, self._trust.name_of(url)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self, url),
                    address.host,
                    address.port,
                    ssl=tls,
                    server_hostname=name,
                )
        except TimeoutError as error:
            raise NotAccepted("it does not take the connection in time") from error
        except ssl.SSLCertVerificationError as error:
            raise ConnectionFailed(why_not(error)) from error
        except (OSError, UnicodeError) as error:
            kind = NoSocket if getattr(error, "errno", None) in _OURS else ConnectionFailed
            raise kind(str(error)) from error
        return connection

    # What connections call

    def opened(self, connection: Connection) -> None:
        """A connection's beginning."""
        self._open.add(connection)

    def ended(self, connection: Connection) -> None:
        """A connection's end."""
        self._open.discard(connection)

    def rest(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if self._closed:
            connection.abort()
            return
        idle = self._idle.get(connection.url)
        if idle is None:
            idle = self._idle[connection.url] = deque()
        connection.idle_since = monotonic()
        idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        """Close what was idle for long; forget engines to which nothing is open."""
        self._sweep = None
        oldest = monotonic() - IDLE_SECONDS
        for url, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since <= oldest or not idle[0].is_usable):
                idle.popleft().abort()
            if not idle:
                del self._idle[url]
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)
