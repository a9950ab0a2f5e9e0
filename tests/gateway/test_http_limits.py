"""Heads too large and requests too slow, over raw sockets; and pages in browsers (CORS)."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from tests.gateway.conftest import MakeGateway

from tunesmith.gateway.http_limits import LimitedHttp

ORIGIN = "https://app.example.com"


class Hasty(LimitedHttp):
    """The limits, with a clock that runs fast."""

    max_headers: ClassVar[int] = 20
    head_seconds: ClassVar[float] = 0.3
    body_seconds: ClassVar[float] = 0.3
    check_seconds: ClassVar[float] = 0.05


class App:
    """Reads the body and answers with its length."""

    def __init__(self) -> None:
        self.disconnected = threading.Event()
        self.seen: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope)
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        if scope["path"] == "/slow":
            await asyncio.sleep(0.8)  # longer than any limit on what a client sends
        body = str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Server:
    """The application behind the limits."""

    def __init__(self) -> None:
        self.app = App()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(64)
        self.address = self._socket.getsockname()
        config = uvicorn.Config(
            self.app, http=Hasty, lifespan="off", log_config=None, timeout_keep_alive=60
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    def open(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def talk(self, *pieces: bytes) -> tuple[int, Any]:
        """Status and body of the first answer to these bytes, sent one after the other."""
        with self.open() as line:
            for piece in pieces:
                try:
                    line.sendall(piece)
                except OSError:  # refused before all was sent
                    break
            return answer(line)


def answer(line: socket.socket) -> tuple[int, Any]:
    """The next answer: its status, and its body as JSON; 0 and None where there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            got = line.recv(65536)
        except ConnectionResetError:
            got = b""
        if not got:
            assert not data
            return 0, None
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(field.lower().split(b": ", 1) for field in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += line.recv(65536)
    return int(head.split()[1]), json.loads(body)


def code(found: tuple[int, Any]) -> tuple[int, str]:
    """Status and error code of an answer in OpenAI's shape."""
    error = found[1]["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return found[0], error["code"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def head(*fields: str, line: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join((line, "host: x", *fields, "", "")).encode()


def test_a_request_within_bounds_is_answered(server: Server) -> None:
    assert server.talk(head()) == (200, 0)
    many = [f"x-{number}: {'v' * 1000}" for number in range(18)]
    assert server.talk(head(*many)) == (200, 0)
    post = head("content-length: 5", line="POST / HTTP/1.1")
    assert server.talk(post + b"hello") == (200, 5)
    big = 2_000_000
    post = head(f"content-length: {big}", line="POST / HTTP/1.1")
    assert server.talk(post, b"x" * big) == (200, big)


def test_a_connection_takes_many_requests(server: Server) -> None:
    with server.open() as line:
        for size in (0, 40_000, 1, 100_000, 0):
            line.sendall(head(f"content-length: {size}", line="POST / HTTP/1.1") + b"x" * size)
            assert answer(line) == (200, size)


def test_a_chunked_body_of_tiny_chunks_is_within_bounds(server: Server) -> None:
    post = head("transfer-encoding: chunked", line="POST / HTTP/1.1")
    assert server.talk(post, b"1\r\nx\r\n" * 50_000, b"0\r\n\r\n") == (200, 50_000)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([head(line=f"GET /{'x' * 9000} HTTP/1.1")], (414, "url_too_long")),
        ([head(*(f"x-{n}: v" for n in range(30)))], (431, "too_many_headers")),
        ([head("x: " + "v" * 40_000)], (431, "headers_too_large")),
        # Never ending, in pieces: refused as soon as it is too much.
        ([b"GET / HTTP/1.1\r\nx: ", *[b"v" * 10_000] * 10], (431, "headers_too_large")),
        ([b"GET /", *[b"v" * 10_000] * 10], (431, "headers_too_large")),
        ([b"nonsense\r\n\r\n"], (400, "invalid_http")),
        (
            [
                head("transfer-encoding: chunked", line="POST / HTTP/1.1") + b"0\r\nx: ",
                *[b"v" * 50_000] * 10,
            ],
            (400, "invalid_http"),
        ),
    ],
)
def test_what_is_too_large_is_refused(
    server: Server, pieces: list[bytes], expected: tuple[int, str]
) -> None:
    assert code(server.talk(*pieces)) == expected


def test_a_refused_head_never_reaches_the_application(server: Server) -> None:
    before = len(server.app.seen)
    server.talk(head("x: " + "v" * 40_000))
    server.talk(head(line=f"GET /{'x' * 9000} HTTP/1.1"))
    assert len(server.app.seen) == before


@pytest.mark.parametrize("start", [b"", b"GET", b"GET / HTTP/1.1\r\nhost:"])
def test_a_head_that_does_not_come_is_given_up(server: Server, start: bytes) -> None:
    assert code(server.talk(start)) == (408, "request_timeout")


def test_a_body_that_does_not_come_is_given_up_and_its_request_ended(server: Server) -> None:
    server.app.disconnected.clear()
    found = server.talk(head("content-length: 10", line="POST / HTTP/1.1") + b"hello")
    assert code(found) == (408, "request_timeout")
    assert server.app.disconnected.wait(10)


def test_a_client_may_wait_for_its_answer_and_between_requests(server: Server) -> None:
    with server.open() as line:
        for _ in range(2):
            line.sendall(head(line="GET /slow HTTP/1.1"))
            assert answer(line) == (200, 0)


def test_line_ends_between_requests_hold_no_connection(server: Server) -> None:
    with server.open() as line:
        line.sendall(head())
        assert answer(line) == (200, 0)
        line.sendall(b"\r\n")
        assert line.recv(1) == b""


def test_trailers_become_no_headers(server: Server) -> None:
    post = head("transfer-encoding: chunked", line="POST / HTTP/1.1")
    assert server.talk(post + b"1\r\nx\r\n0\r\nauthorization: mine\r\n\r\n") == (200, 1)
    names = {name for name, _ in server.app.seen[-1]["headers"]}
    assert b"authorization" not in names


@settings(max_examples=40, deadline=None)
@given(data=st.binary(min_size=1, max_size=200))
def test_any_bytes_are_answered_or_end(server: Server, data: bytes) -> None:
    status, body = server.talk(data + b"\r\n\r\n")
    assert status in (0, 200, 400, 408, 414, 431)
    if status >= 400:
        assert set(body["error"]) == {"message", "type", "param", "code"}


# Browsers


def preflight(url: str, origin: str) -> httpx.Response:
    return httpx.options(
        f"{url}/v1/chat/completions",
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-stainless-lang",
        },
    )


def test_by_default_no_page_may_call(make_gateway: MakeGateway) -> None:
    url = make_gateway().url
    assert "access-control-allow-origin" not in preflight(url, ORIGIN).headers
    answered = httpx.get(f"{url}/v1/models", headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answered.headers


def test_an_allowed_origin_may_call_and_read_what_it_needs(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(cors_origins=ORIGIN)
    found = preflight(gateway.url, ORIGIN)
    assert found.status_code == 200
    assert found.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in found.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in found.headers
    tenant = gateway.tenant()
    for key, status in ((tenant.key, 200), ("wrong", 401)):
        answered = httpx.get(
            f"{gateway.url}/v1/models",
            headers={"origin": ORIGIN, "authorization": f"Bearer {key}"},
        )
        assert answered.status_code == status
        assert answered.headers["access-control-allow-origin"] == ORIGIN
        exposed = answered.headers["access-control-expose-headers"]
        for name in ("x-request-id", "x-ratelimit-remaining-requests", "x-tunesmith-model"):
            assert name in exposed
    other = preflight(gateway.url, "https://evil.example.com")
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers
