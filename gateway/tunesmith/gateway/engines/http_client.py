"""HTTP/1.1 to engines on connections that stay open; what a generation needs, and no more.

aiohttp's client takes four times as long for a request (docs/decisions/0015-hot-path.md); it
still does what is not on every request's way: looks at engines, loading and unloading.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httptools

from .connection import CONNECT_SECONDS, IDLE_SECONDS, keep_probing

_MOST_BUFFERED = 1024 * 1024
"""Bytes of an answer that wait for a slow client before the engine is read no further."""


class ConnectionFailed(Exception):
    """No connection to the engine could be made: it has seen nothing of the request."""


class AnswerLost(Exception):
    """The engine closed the connection, or broke the protocol, before its answer's end.

    `begun` says whether a byte of the answer had come.
    """

    def __init__(self, message: str, *, begun: bool) -> None:
        super().__init__(message)
        self.begun = begun


@dataclass(frozen=True)
class Address:
    """Where an engine listens, and what its requests begin with."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: bytes
    host_header: bytes

    @classmethod
    def of(cls, url: str) -> Address:
        """The address of a base URL; a path in it stands before every request's."""
        parts = urlsplit(url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        host = parts.hostname or ""
        return cls(host, port, tls, parts.path.rstrip("/").encode(), parts.netloc.encode())


class EngineClient:
    """Connections to all engines; to be used in one event loop, and closed in it."""

    def __init__(self) -> None:
        self._addresses: dict[str, Address] = {}
        self._idle: dict[str, deque[_Connection]] = {}
        self._open: set[_Connection] = set()

    async def post(self, url: str, path: str, headers: bytes, body: bytes) -> Answer:
        """Send a request to the engine at `url`; its answer once its head is here.

        Args:
            headers: lines `name: value` with their ends, beside those of every request.

        Raises:
            ConnectionFailed: it takes no connection.
            AnswerLost: it was gone before its answer's head was here.
        """
        address = self._addresses.get(url)
        if address is None:
            address = self._addresses[url] = Address.of(url)
        request = (
            b"POST %b%b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"accept: application/json, text/event-stream\r\ncontent-length: %d\r\n%b\r\n"
            % (address.prefix, path.encode(), address.host_header, len(body), headers)
        )
        connection = self._take(url) or await self._connect(url, address)
        return await connection.ask(request, body)

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # transports tell of their end in the loop's next turn

    def _take(self, url: str) -> _Connection | None:
        idle = self._idle.get(url)
        # The last used first: the others may grow old and be closed.
        while idle:
            connection = idle.pop()
            if connection.is_open and connection.idle_since + IDLE_SECONDS > monotonic():
                return connection
            connection.abort()
        return None

    async def _connect(self, url: str, address: Address) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, url), address.host, address.port, ssl=address.tls
                )
        except (OSError, TimeoutError) as error:
            raise ConnectionFailed(str(error) or "it does not answer in time") from error
        return connection

    def opened(self, connection: _Connection) -> None:
        """A connection's beginning."""
        self._open.add(connection)

    def ended(self, connection: _Connection) -> None:
        """A connection's end."""
        self._open.discard(connection)

    def rest(self, connection: _Connection) -> None:
        """Keep a connection for the next request; the longest idle ones are closed."""
        idle = self._idle.get(connection.url)
        if idle is None:
            idle = self._idle[connection.url] = deque()
        now = monotonic()
        while idle and idle[0].idle_since + IDLE_SECONDS < now:
            idle.popleft().abort()
        connection.idle_since = now
        idle.append(connection)


class Answer:
    """An engine's answer whose head is here; read it whole, or in pieces as they come."""

    def __init__(self, connection: _Connection) -> None:
        self.status = 0
        self.content_type = ""
        self.retry_after: str | None = None
        self.ended = False
        self._connection: _Connection | None = connection
        self._pieces: list[bytes] = []
        self._size = 0
        self._lost: AnswerLost | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """All of the body.

        Raises:
            AnswerLost: it was cut.
        """
        while not self.ended:
            await self._more()
        return b"".join(self._pieces)

    async def next(self) -> bytes:
        """What has come of the body since the last call, waited for; empty at its end.

        Raises:
            AnswerLost: it was cut; what had come before it was given out.
        """
        while not self._pieces:
            if self.ended:
                return b""
            await self._more()
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self._connection is not None:
            self._connection.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Let go of it: before its end, by closing the connection, which aborts the generation."""
        connection, self._connection = self._connection, None
        if connection is not None and not self.ended:
            connection.abort()

    async def _more(self) -> None:
        self._raise_if_lost()
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
        if not self._pieces:
            self._raise_if_lost()

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost

    def add(self, piece: bytes) -> bool:
        """A piece came; whether more may."""
        self._pieces.append(piece)
        self._size += len(piece)
        self._wake()
        return self._size < _MOST_BUFFERED

    def end(self) -> None:
        """Its last byte has come."""
        self.ended = True
        self._connection = None
        self._wake()

    def lose(self, error: AnswerLost) -> None:
        """The connection was lost before that."""
        self._lost = error
        self._connection = None
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, client: EngineClient, url: str) -> None:
        self.url = url
        self.idle_since = 0.0
        self.is_open = False
        self._client = client
        self._transport: Any = None
        self._parser: Any = None
        self._head: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._begun = False
        self._paused = False
        self._until_closed = True

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.is_open = True
        keep_probing(transport.get_extra_info("socket"))
        self._client.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or not self.is_open:  # nothing was asked, or nobody listens
            self.abort()
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lose(f"its answer is not HTTP: {error}")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._client.ended(self)
        answer = self._answer
        # Without length and chunks, the connection's end is the body's.
        if exc is None and answer is not None and self._until_closed:
            self.on_message_complete()
        else:
            self._lose(str(exc) if exc else "it closed the connection")

    # What the parser calls

    def on_message_begin(self) -> None:
        self._answer = Answer(self)
        self._until_closed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._answer is not None
        lowered = name.lower()
        if lowered == b"content-type":
            self._answer.content_type = value.decode("latin-1").split(";", 1)[0].strip()
        elif lowered in (b"content-length", b"transfer-encoding"):
            self._until_closed = False
        elif lowered == b"retry-after":
            self._answer.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._answer is not None
        self._answer.status = self._parser.get_status_code()
        if self._head is not None and not self._head.done():
            self._head.set_result(self._answer)

    def on_body(self, body: bytes) -> None:
        assert self._answer is not None
        if not self._answer.add(body) and not self._paused and self.is_open:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, None
        keep = self.is_open and self._parser.should_keep_alive()
        self._parser = self._head = None
        self.resume()
        if answer is not None:
            answer.end()
        if keep:
            self._client.rest(self)
        else:
            self.abort()

    # What a request calls

    async def ask(self, request: bytes, body: bytes) -> Answer:
        """Send a request; its answer once its head is here."""
        self._parser = httptools.HttpResponseParser(self)
        self._begun = False
        head = self._head = asyncio.get_running_loop().create_future()
        if len(body) < 65536:
            self._transport.write(request + body)
        else:
            self._transport.write(request)
            self._transport.write(body)
        try:
            answer: Answer = await head
            return answer
        except BaseException:
            self.abort()  # cancelled: the engine is told so by the connection's end
            raise

    def resume(self) -> None:
        """Read on, after a pause."""
        if self._paused:
            self._paused = False
            if self.is_open:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close it now."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _lose(self, why: str) -> None:
        error = AnswerLost(why, begun=self._begun)
        answer, self._answer = self._answer, None
        head, self._head = self._head, None
        self._parser = None
        if answer is not None:
            answer.lose(error)
        if head is not None and not head.done():
            head.set_exception(error)
