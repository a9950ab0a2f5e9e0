"""TLS inside: the gateway's own port, and the way from it to engines."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from tests.authority import Authority, serial_of
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import BASE, wait_for
from tests.gateway.processes import HELLO, GatewayProcess, register_base

from tunesmith.gateway.engines.http_client import ConnectionFailed, EngineClient
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.lifecycle import Lifecycle
from tunesmith.gateway.server import Server
from tunesmith.platform.certificates import LOOK_SECONDS, Authorities, ServedCertificate
from tunesmith.platform.cli.connection import Admin
from tunesmith.platform.cli.errors import CommandFailed
from tunesmith.platform.database import Database
from tunesmith.platform.supervisor.part import Probe, answers

PODS = "engine-pods.ai.svc"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secured(authority: Authority, tmp_path: Path) -> Iterator[FakeEngine]:
    """An engine whose certificate has names, and no address."""
    engine = FakeEngine(BASE)
    engine.tls = authority.sign(PODS, "localhost", into=tmp_path / "engine")
    engine.start()
    yield engine
    engine.kill()


async def told(probe: Probe) -> bool:
    return await probe()


class Found:
    """A source that finds an engine by its address, as DNS does."""

    name = "found"

    def __init__(self, url: str, server_name: str | None) -> None:
        self.url = url
        self.server_name = server_name

    async def find(self) -> tuple[list[str], list[str]]:
        return [self.url], []


def pool_of(engine: FakeEngine, name: str | None, authority: Authority) -> EnginePool:
    return EnginePool(
        [],
        wait_seconds=0.2,
        slots=4,
        holds=64,
        look_seconds=0.02,
        sources=[Found(engine.url, name)],
        authorities=Authorities(authority.file),
    )


def test_an_engine_at_an_address_is_known_by_its_services_name(
    secured: FakeEngine, authority: Authority
) -> None:
    async def story() -> None:
        async with pool_of(secured, PODS, authority) as pool:
            while not pool.serving(BASE):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)
            client = EngineClient(pool.trust)
            answer = await client.post(secured.url, "/v1/completions", b"", b'{"model": "pocket"}')
            assert answer.status == 200
            await client.close()
            assert await pool.warm(pool.engines[0], BASE)  # by the pool's own client

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize(
    ("name", "missing"), [("other.ai.svc", "other.ai.svc"), (None, "127.0.0.1")]
)
def test_an_engine_of_another_name_gets_nothing_and_it_is_said_why(
    secured: FakeEngine, authority: Authority, name: str | None, missing: str
) -> None:
    async def story() -> None:
        async with pool_of(secured, name, authority) as pool:
            while not pool.engines or pool.engines[0].status != "down":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert "certificate is not valid for" in pool.engines[0].reason
            assert missing in pool.engines[0].reason
            client = EngineClient(pool.trust)
            with pytest.raises(ConnectionFailed, match=f"not believed: .*{missing}"):
                await client.post(secured.url, "/v1/completions", b"", b"{}")
            await client.close()

    asyncio.run(asyncio.wait_for(story(), 60))
    assert secured.requests == []


def test_a_gateway_speaks_tls_to_its_clients_and_to_its_engines(
    authority: Authority, secured: FakeEngine, tmp_path: Path
) -> None:
    certificate, key = authority.sign("127.0.0.1", into=tmp_path / "gateway")
    port = secured.url.rpartition(":")[2]
    gateway = GatewayProcess(
        tmp_path / "home",
        tls_certificate_file=certificate,
        tls_key_file=key,
        engines=f"dns+https://localhost:{port}",
        engine_ca_file=authority.file,
    )
    gateway.verify = ssl.create_default_context(cafile=authority.file)
    try:
        gateway.wait_until_it_serves()
        database = Database(f"sqlite:///{tmp_path / 'home' / 'tunesmith.db'}")
        register_base(database)
        database.dispose()
        messages: Any = HELLO
        with openai.OpenAI(
            base_url=f"{gateway.url}/v1",
            api_key=gateway.make_tenant(),
            http_client=openai.DefaultHttpxClient(verify=gateway.verify),
        ) as client:
            answer = client.chat.completions.create(model=BASE, messages=messages)
        assert answer.choices[0].message.content
        alive = f"{gateway.url}/healthz"
        assert asyncio.run(told(answers(alive, of_any_name=True))), "as `tunesmith up` looks"
        assert not asyncio.run(told(answers(alive)))
        with pytest.raises(CommandFailed, match=r"is not believed .* in SSL_CERT_FILE"):
            Admin(gateway.url, "key", None).call("GET", "/tenants")
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(alive, verify=ssl.create_default_context())
        with pytest.raises(httpx.TransportError):
            httpx.get(alive.replace("https", "http"))
    finally:
        gateway.remove()


def test_a_gateway_with_a_key_of_another_certificate_says_so_and_does_not_start(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, _ = authority.sign("localhost", into=tmp_path / "one")
    _, key = authority.sign("localhost", into=tmp_path / "other")
    gateway = GatewayProcess(tmp_path / "home", tls_certificate_file=certificate, tls_key_file=key)
    try:
        assert gateway.wait() == 1
        assert f"the key {key} cannot be used" in gateway.log_text()
    finally:
        gateway.remove()


def test_a_certificate_is_replaced_under_a_running_gateway(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.sign("localhost", into=tmp_path)
    now = 0.0

    @asynccontextmanager
    async def nothing() -> AsyncIterator[dict[str, Any]]:
        yield {}

    lifecycle = Lifecycle(PlainTextResponse("well"), nothing)
    config = uvicorn.Config(
        lifecycle,
        interface="asgi3",
        host="localhost",
        port=0,
        log_config=None,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    server = Server(config, lifecycle, 0.0, 0.0)
    server.certificate = ServedCertificate(certificate, key, clock=lambda: now)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, 60)
        address = server.servers[0].sockets[0].getsockname()
        trust = ssl.create_default_context(cafile=authority.file)

        def serial() -> int:
            with (
                socket.create_connection(address[:2]) as plain,
                trust.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                return serial_of(connection.getpeercert(binary_form=True) or b"")

        first = serial()
        with httpx.Client(verify=trust, base_url=f"https://localhost:{address[1]}") as client:
            assert client.get("/").text == "well"
            authority.sign("localhost", into=tmp_path)
            now += LOOK_SECONDS
            wait_for(lambda: serial() != first, 60)
            assert serial() == serial_of(certificate.read_bytes())
            assert client.get("/").text == "well"  # on the connection that there was
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
