"""The HTTP client to engines, against servers that say byte by byte what a test has them say."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import subprocess
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tunesmith.gateway.engines import answer as answers
from tunesmith.gateway.engines import http_client
from tunesmith.gateway.engines.answer import Answer, AnswerLost, AnswerTooLarge
from tunesmith.gateway.engines.http_client import (
    Address,
    ConnectionFailed,
    EngineClient,
    NoSocket,
    NotAccepted,
)
from tunesmith.gateway.engines.trust import EngineTrust
from tunesmith.platform.certificates import Authorities

Run = Callable[[Coroutine[Any, Any, None]], None]
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in each of the event loops that a gateway may have, and for 20 s at most."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def in_loop(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(work, 20))

    return in_loop


class Engine:
    """A server that answers each request with what `say` writes; counts its connections."""

    def __init__(self, say: Callable[[Reader, Writer], Awaitable[None]]) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._say = say
        self._writers: list[Writer] = []

    async def __aenter__(self) -> Engine:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.client = EngineClient()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                self.requests.append(head + await reader.readexactly(length))
                await self._say(reader, writer)
                if writer.is_closing():
                    return

    async def ask(self, body: bytes = b"{}", **options: Any) -> Answer:
        return await self.client.post(self.url, "/v1/x", b"x-request-id: 1\r\n", body, **options)


async def until(met: Callable[[], bool]) -> None:
    while not met():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.01)


def saying(*pieces: bytes, close: bool = False) -> Callable[[Reader, Writer], Awaitable[None]]:
    async def say(_: Reader, writer: Writer) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)  # so that they come in pieces
        if close:
            writer.close()

    return say


def test_connections_are_used_again(run: Run) -> None:
    async def work() -> None:
        async with Engine(saying(WHOLE)) as engine:
            for _ in range(3):
                answer = await engine.ask(b'{"a": 1}')
                assert (answer.status, answer.content_type) == (200, "application/json")
                assert await answer.read() == b"{}"
            assert engine.connections == 1
            head, _, body = engine.requests[0].partition(b"\r\n\r\n")
            assert body == b'{"a": 1}'
            assert head.startswith(b"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:")
            assert b"\r\nx-request-id: 1" in head
            await (await engine.ask(fresh=True)).read()
            assert engine.connections == 2

    run(work())


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        pytest.param([CHUNKED, b"3\r\nabc\r\n", b"1\r\nd\r\n", b"0\r\n\r\n"], True, id="chunked"),
        pytest.param([CHUNKED + b"4\r\nabcd\r\n0\r\nx: y\r\n\r\n"], True, id="trailers"),
        pytest.param(
            [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd"],
            True,
            id="continue",
        ),
        pytest.param(
            [
                b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
                b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd"
            ],
            True,
            id="hints at once",
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nabcd"],
            False,
            id="connection: close",
        ),
        pytest.param([b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nabcd"], False, id="HTTP/1.0"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcdHTTP/1.1 200 OK\r\n"],
            False,
            id="more than was asked for",
        ),
        pytest.param([b"H", b"TTP/1.1 200 OK\r\ncont", b"ent-length: 4\r\n\r\nab", b"cd"], True),
    ],
)
def test_forms_of_an_answer(run: Run, pieces: list[bytes], kept: bool) -> None:
    async def work() -> None:
        async with Engine(saying(*pieces)) as engine:
            for _ in range(2):
                assert await (await engine.ask()).read() == b"abcd"
                await asyncio.sleep(0.02)
            assert engine.connections == (1 if kept else 2)
            assert engine.client.open_connections == (1 if kept else 0)

    run(work())


def test_an_answer_without_length_ends_with_its_connection(run: Run) -> None:
    async def work() -> None:
        async with Engine(saying(b"HTTP/1.1 200 OK\r\n\r\nab", b"cd", close=True)) as engine:
            assert await (await engine.ask()).read() == b"abcd"
            assert engine.client.open_connections == 0

    run(work())


@pytest.mark.parametrize(
    ("pieces", "begun"),
    [
        ([], False),
        ([b"HTTP/1.1 2"], True),
        ([b"HTTP/1.1 200 OK\r\ncontent-le"], True),
        ([b"SSH-2.0-OpenSSH\r\n"], True),
        ([b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"], True),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 9\r\n\r\n"], True),
    ],
)
def test_an_engine_gone_before_its_head(run: Run, pieces: list[bytes], begun: bool) -> None:
    async def work() -> None:
        async with Engine(saying(*pieces, close=True)) as engine:
            with pytest.raises(AnswerLost) as lost:
                await engine.ask()
            assert (lost.value.begun, lost.value.reused) == (begun, False)
            await asyncio.sleep(0.01)
            assert engine.client.open_connections == 0

    run(work())


@pytest.mark.parametrize("head", [b"content-length: 9", b"transfer-encoding: chunked"])
def test_an_engine_gone_in_its_body(run: Run, head: bytes) -> None:
    async def work() -> None:
        text = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n3\r\nabc"
        async with Engine(saying(text, close=True)) as engine:
            with pytest.raises(AnswerLost) as lost:
                await (await engine.ask()).read()
            assert lost.value.begun
            streamed = await engine.ask()
            assert await streamed.next()  # what had come is given out
            with pytest.raises(AnswerLost):
                await streamed.next()

    run(work())


def test_an_engine_that_closes_an_idle_connection_as_it_is_used(run: Run) -> None:
    async def work() -> None:
        async def say(_: Reader, writer: Writer) -> None:
            if len(engine.requests) == 2:
                writer.close()
            else:
                writer.write(WHOLE)

        async with Engine(say) as engine:
            await (await engine.ask()).read()
            with pytest.raises(AnswerLost) as lost:
                await engine.ask()
            assert (lost.value.begun, lost.value.reused) == (False, True)
            assert await (await engine.ask(fresh=True)).read() == b"{}"

    run(work())


def test_a_connection_that_was_closed_while_idle_is_not_used(run: Run) -> None:
    async def work() -> None:
        async with Engine(saying(WHOLE, close=True)) as engine:
            for _ in range(3):
                await (await engine.ask()).read()
                await asyncio.sleep(0.03)
            assert engine.client.open_connections == 0

    run(work())


def test_idle_connections_are_closed_and_forgotten(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "IDLE_SECONDS", 0.05)

    async def work() -> None:
        async with Engine(saying(WHOLE)) as engine:
            for answer in await asyncio.gather(*(engine.ask() for _ in range(20))):
                await answer.read()
            assert engine.client.open_connections == 20
            await until(lambda: not engine.client.open_connections)
            await (await engine.ask()).read()
            assert engine.connections == 21

    run(work())


def test_a_cancelled_request_closes_its_connection_and_no_other(run: Run) -> None:
    async def work() -> None:
        async with Engine(saying()) as engine:  # it never answers
            task = asyncio.create_task(engine.ask())
            await until(lambda: bool(engine.requests))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.01)
            assert engine.client.open_connections == 0

    run(work())


def test_a_request_cancelled_after_its_answer_came_leaves_the_connection_alone(run: Run) -> None:
    """It may be another request's by then."""

    async def work() -> None:
        async def once(_: Reader, writer: Writer) -> None:
            if len(engine.requests) == 1:
                writer.write(WHOLE)

        async with Engine(once) as engine:
            await (await engine.ask()).read()
            (connection,) = engine.client._open
            asking = asyncio.create_task(engine.ask())
            await asyncio.sleep(0)
            connection.data_received(WHOLE)  # the task is about to run on
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert connection.is_usable

    run(work())


def test_a_large_answer_is_read_whole_and_a_slow_client_holds_a_stream_back(run: Run) -> None:
    size = 8 * 1024 * 1024

    async def work() -> None:
        sent = 0

        async def say(_: Reader, writer: Writer) -> None:
            nonlocal sent
            sent = 0
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            while sent < size:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536

        async with Engine(say) as engine:
            assert len(await (await engine.ask()).read()) == size
            answer = await engine.ask()
            before = -1
            while before != sent:  # until it is held back
                before = sent
                await asyncio.sleep(0.2)
            assert sent < size
            got = 0
            while piece := await answer.next():
                got += len(piece)
                await asyncio.sleep(0)
            assert got == size
            assert await (await engine.ask()).read()
            assert engine.connections == 1

    run(work())


def test_too_large_an_answer_is_not_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST", 1_000_000)

    async def work() -> None:
        text = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 9_000_000
        async with Engine(saying(text)) as engine:
            answer = await engine.ask()
            with pytest.raises(AnswerTooLarge):
                await answer.read()
            answer.close()
            await asyncio.sleep(0.01)
            assert engine.client.open_connections == 0

    run(work())


def test_an_answer_while_the_request_is_still_written_is_heard(run: Run) -> None:
    """And the connection is not kept: the engine may never read the rest."""

    async def work() -> None:
        async def early(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
            await asyncio.sleep(60)

        server = await asyncio.start_server(early, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = EngineClient()
        answer = await client.post(url, "/", b"", b"x" * 50_000_000)
        assert answer.status == 413
        await answer.read()
        await asyncio.sleep(0.01)
        assert client.open_connections == 0
        await client.close()
        server.close()

    run(work())


def test_who_takes_no_connection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        client = EngineClient()
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            with pytest.raises(ConnectionFailed) as refused:
                await client.post(url, "/", b"", b"")
        assert type(refused.value) is ConnectionFailed
        with pytest.raises(ConnectionFailed):
            await client.post("http://no-such-host.invalid:1", "/", b"", b"")
        loop = asyncio.get_running_loop()

        async def slow(*_: Any, **__: Any) -> Any:
            await asyncio.sleep(60)

        async def none_left(*_: Any, **__: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.05)
        for connect, kind in ((slow, NotAccepted), (none_left, NoSocket)):
            monkeypatch.setattr(type(loop), "create_connection", connect, raising=False)
            with pytest.raises(kind):
                await client.post(url, "/", b"", b"")
            monkeypatch.undo()
            monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.05)

    run(work())


def test_addresses() -> None:
    plain = Address.of("http://engine")
    assert (plain.host, plain.port, plain.is_tls) == ("engine", 80, False)
    six = Address.of("https://[fd00::1]:8443/base/")
    assert (six.host, six.port, six.is_tls, six.prefix) == ("fd00::1", 8443, True, b"/base")
    assert six.host_header == b"[fd00::1]:8443"
    assert Address.of("http://user:secret@engine:1").host_header == b"engine:1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder


def test_tls_is_spoken_and_certificates_are_checked(run: Run, certificate: Path) -> None:
    async def work() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

        async def serve(reader: Reader, writer: Writer) -> None:
            with suppress(asyncio.IncompleteReadError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(WHOLE)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        trusting = EngineClient(EngineTrust(Authorities(certificate / "cert.pem")))
        for _ in range(2):
            assert await (await trusting.post(url, "/", b"", b"")).read() == b"{}"
        assert trusting.open_connections == 1
        doubting = EngineClient()
        with pytest.raises(ConnectionFailed):
            await doubting.post(url, "/", b"", b"")
        await trusting.close()
        await doubting.close()
        server.close()

    run(work())


def test_ipv6(run: Run) -> None:
    async def work() -> None:
        async def serve(reader: Reader, writer: Writer) -> None:
            assert b"\r\nhost: [::1]:" in await reader.readuntil(b"\r\n\r\n")
            writer.write(WHOLE)

        try:
            server = await asyncio.start_server(serve, "::1", 0)
        except OSError:
            pytest.skip("no IPv6 on this machine")
        client = EngineClient()
        url = f"http://[::1]:{server.sockets[0].getsockname()[1]}"
        assert await (await client.post(url, "/", b"", b"")).read() == b"{}"
        await client.close()
        server.close()

    run(work())
