"""One HTTP/1.1 connection to an engine: a request at a time."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import httptools

from .answer import Answer, AnswerLost
from .connection import keep_probing

_WRITTEN_AT_ONCE = 65536
_OK = 200
"""Statuses below are heads before the head: 100 Continue, 103 Early Hints."""


class Keeper(Protocol):
    """Who keeps connections."""

    def opened(self, connection: Connection) -> None:
        """A connection's beginning."""

    def ended(self, connection: Connection) -> None:
        """A connection's end."""

    def rest(self, connection: Connection) -> None:
        """It has nothing to do, and may be used again."""


class Connection(asyncio.Protocol):
    """A connection to the engine at `url`."""

    def __init__(self, keeper: Keeper, url: str) -> None:
        self.url = url
        self.idle_since = 0.0
        self._is_open = False
        self._keeper = keeper
        self._transport: Any = None
        self._parser: Any = None
        self._head: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._asked = 0
        self._begun = False
        self._paused = False
        self._until_closed = True

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent over it."""
        return self._is_open and not self._transport.is_closing()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._is_open = True
        keep_probing(transport.get_extra_info("socket"))
        self._keeper.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or not self._is_open:  # nothing was asked, or nobody listens
            self.abort()
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._lose(f"its answer is not HTTP: {error}")
            self.abort()

    def eof_received(self) -> None:
        self._is_open = False  # the transport closes itself, in the loop's next turn

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        self._keeper.ended(self)
        answer = self._answer
        # Without length and chunks, the connection's end is the body's.
        if exc is None and answer is not None and answer.status and self._until_closed:
            self.on_message_complete()
        else:
            self._lose(str(exc) if exc else "it closed the connection")

    # What the parser calls; what is raised here is an error of the parser's

    def on_message_begin(self) -> None:
        if self._parser is None:
            raise ValueError("there is more than was asked for")
        self._answer = Answer(self)
        self._until_closed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"content-type":
            assert self._answer is not None
            self._answer.content_type = value.decode("latin-1").split(";", 1)[0].strip()
        elif lowered in (b"content-length", b"transfer-encoding"):
            self._until_closed = False

    def on_headers_complete(self) -> None:
        assert self._answer is not None
        status = self._parser.get_status_code()
        if status < _OK:
            self._answer = None
            return
        self._answer.status = status
        if self._head is not None and not self._head.done():
            self._head.set_result(self._answer)

    def on_body(self, body: bytes) -> None:
        assert self._answer is not None
        if not self._answer.add(body) and not self._paused and self._is_open:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, None
        if answer is None:  # a head before the head
            return
        # An engine that answers before it has read all of a request may never read the rest.
        keep = (
            self._is_open
            and self._parser.should_keep_alive()
            and not self._transport.get_write_buffer_size()
        )
        self._parser = self._head = None
        self.resume()
        answer.end()
        if keep:
            self._keeper.rest(self)
        else:
            self.abort()

    # What a request calls

    async def ask(self, request: bytes, body: bytes) -> Answer:
        """Send a request; its answer once its head is here.

        Raises:
            AnswerLost: the connection was gone before that.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._begun = False
        self._asked += 1
        head = self._head = asyncio.get_running_loop().create_future()
        if len(body) < _WRITTEN_AT_ONCE:
            self._transport.write(request + body)
        else:
            self._transport.write(request)
            self._transport.write(body)
        try:
            answer: Answer = await head
            return answer
        except BaseException:
            # Cancelled: the engine is told so by the connection's end. If all of the answer has
            # come all the same, the connection may be another request's by now.
            if self._head is head:
                self.abort()
            raise

    def resume(self) -> None:
        """Read on, after a pause."""
        if self._paused:
            self._paused = False
            if self._is_open:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close it now."""
        self._is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _lose(self, why: str) -> None:
        error = AnswerLost(why, begun=self._begun, reused=self._asked > 1)
        answer, self._answer = self._answer, None
        head, self._head = self._head, None
        self._parser = None
        if answer is not None:
            answer.lose(error)
        if head is not None and not head.done():
            head.set_exception(error)
