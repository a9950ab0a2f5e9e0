"""What a client may send before a request is one: sizes of its head, and how slowly it may come.

uvicorn's parser takes heads of any size and waits for their end for ever. This is that parser with
limits, below ASGI: a request in time and in bounds pays for some comparisons (3.7 us beside the
parser's 23, measured on a busy machine with twelve headers).
`MAX_BODY` and `MAX_DEPTH` bound what comes after, by route.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tunesmith.platform.domain.errors import InvalidRequest

_IDLE, _HEAD, _BODY = range(3)

# A chunk of one byte comes as six; what comes beside the body is otherwise trailers, which nobody
# reads.
_FRAMING = 8


class LimitedHttp(HttpToolsProtocol):
    """A connection whose requests are bounded.

    Attributes:
        max_head_bytes: of request line and headers together (nginx's default is 32 KiB).
        max_headers: how many there may be (Apache's default).
        max_url_bytes: of the path and the query.
        head_seconds: that a head may take, from its first byte or from the connection on.
        body_seconds: that a body may take, and one more for every `body_rate` bytes of it: an
            upload over a slow line goes on, and one that drips does not.
        check_seconds: how often the clock is looked at: a limit is kept within this.
    """

    max_head_bytes: ClassVar[int] = 32 * 1024
    max_headers: ClassVar[int] = 100
    max_url_bytes: ClassVar[int] = 8 * 1024
    head_seconds: ClassVar[float] = 20.0
    body_seconds: ClassVar[float] = 30.0
    body_rate: ClassVar[int] = 1000
    check_seconds: ClassVar[float] = 5.0

    _state = _HEAD
    _since = 0.0
    _fed = 0
    _body_bytes = 0
    _refusal: tuple[HTTPStatus, InvalidRequest] | None = None
    _check_handle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: its first request is awaited."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._check_handle = self.loop.call_later(self.check_seconds, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._check_handle is not None:
            self._check_handle.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, unless there is more of a head, or beside a body, than there may be."""
        self._fed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._state == _HEAD and self._fed > self.max_head_bytes:
            self._refuse(*self._head_too_large())
        elif self._state == _BODY and self._fed > (
            2 * self.max_head_bytes + len(data) + _FRAMING * self._body_bytes
        ):
            self._refuse(
                HTTPStatus.BAD_REQUEST,
                InvalidRequest("The body has more framing than content.", code="invalid_http"),
            )

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._state = _HEAD
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The head is here: it is answered only if it is within bounds."""
        if len(self.url) > self.max_url_bytes:
            self._refusal = _too_long(self.max_url_bytes)
        elif len(self.headers) > self.max_headers:
            self._refusal = _too_many(self.max_headers)
        elif self._fed > self.max_head_bytes and self._head_bytes() > self.max_head_bytes:
            self._refusal = self._head_too_large()
        if self._refusal is not None:
            raise ValueError("refused")  # ends the parsing; `send_400_response` answers
        super().on_headers_complete()
        self.headers = _Closed(self.headers)
        self._state = _BODY
        self._since = self.loop.time()
        self._fed = self._body_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Some of the body is here."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        super().on_message_complete()
        self._state = _IDLE
        self._fed = 0

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, or was refused while it was parsed."""
        status, error = self._refusal or (
            HTTPStatus.BAD_REQUEST,
            InvalidRequest(msg, code="invalid_http"),
        )
        self._refuse(status, error)

    def _check(self) -> None:
        if self.transport.is_closing():
            return
        taken = self.loop.time() - self._since
        if self._state == _HEAD and taken > self.head_seconds:
            self._refuse(*_too_slow("request", self.head_seconds))
        elif self._state == _BODY and self.flow.read_paused:
            self._since += self.check_seconds  # it is we who do not read
        elif self._state == _BODY and taken > (
            self.body_seconds + self._body_bytes / self.body_rate
        ):
            self._refuse(*_too_slow("body", self.body_seconds))
        elif self._state == _IDLE and self._is_between() and self.timeout_keep_alive_task is None:
            self.transport.close()  # line ends between requests ended the wait for the next one
        self._check_handle = self.loop.call_later(self.check_seconds, self._check)

    def _is_between(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, status: HTTPStatus, error: InvalidRequest) -> None:
        """Answer with an error, if nothing else is being answered, and close."""
        answering_this = self._state == _BODY and not self.cycle.response_started
        if self._is_between() or answering_this:
            body = json.dumps(error.body()).encode()
            head = (
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
                "x-should-retry: false\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _head_too_large(self) -> tuple[HTTPStatus, InvalidRequest]:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, InvalidRequest(
            f"The request's line and headers have more than {self.max_head_bytes:,} bytes.",
            code="headers_too_large",
        )


class _Closed(list[tuple[bytes, bytes]]):
    """The headers of a request whose head is complete: trailers are not kept."""

    def append(self, _: Any) -> None:
        pass


def _too_long(limit: int) -> tuple[HTTPStatus, InvalidRequest]:
    return HTTPStatus.REQUEST_URI_TOO_LONG, InvalidRequest(
        f"The URL has more than {limit:,} bytes.", code="url_too_long"
    )


def _too_many(limit: int) -> tuple[HTTPStatus, InvalidRequest]:
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, InvalidRequest(
        f"The request has more than {limit} headers.", code="too_many_headers"
    )


def _too_slow(what: str, seconds: float) -> tuple[HTTPStatus, InvalidRequest]:
    return HTTPStatus.REQUEST_TIMEOUT, InvalidRequest(
        f"The {what} did not come within {seconds:g} s.", code="request_timeout"
    )
