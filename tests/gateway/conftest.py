"""A gateway of each database for the whole run; each test makes tenants of its own in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg import sql
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import ADMIN_KEY, Gateway, Tenant

from tunesmith.platform.settings import Settings

MakeGateway = Callable[..., Gateway]


def settings_for(home: Path, engine: FakeEngine, **changes: object) -> Settings:
    """Settings of a gateway under `home`, in front of `engine`."""
    values: dict[str, object] = {
        "home": home,
        "admin_key": ADMIN_KEY,
        "engines": [engine.url],
        "max_file_bytes": 2_000_000,
        "engine_wait_seconds": 0.5,
    }
    return Settings.model_validate(values | changes)


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> Iterator[None]:
    """Log to where pytest captures it, without painted tracebacks, which take seconds."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[FakeEngine]:
    """The engine of the gateways that all tests share."""
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.kill()


@pytest.fixture(scope="session")
def sqlite_gateway(
    tmp_path_factory: pytest.TempPathFactory, shared_engine: FakeEngine
) -> Iterator[Gateway]:
    """A gateway on SQLite."""
    gateway = Gateway(settings_for(tmp_path_factory.mktemp("sqlite"), shared_engine))
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def postgres_gateway(
    tmp_path_factory: pytest.TempPathFactory, shared_engine: FakeEngine, postgres_url: str
) -> Iterator[Gateway]:
    """A gateway on PostgreSQL."""
    name = f"gateway_{uuid4().hex}"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    gateway = Gateway(
        settings_for(
            tmp_path_factory.mktemp("postgres"),
            shared_engine,
            database_url=postgres_url.replace("/postgres?", f"/{name}?"),
        )
    )
    yield gateway
    gateway.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """A gateway on each of both databases."""
    found: Gateway = request.getfixturevalue(f"{request.param}_gateway")
    return found


@pytest.fixture
def tenant(gateway: Gateway) -> Tenant:
    """A new tenant of a gateway on each of both databases."""
    return gateway.tenant()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine of this test's own."""
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.hold.set()
    engine.kill()


@pytest.fixture
def make_gateway(tmp_path: Path, engine: FakeEngine) -> Iterator[MakeGateway]:
    """Makes gateways of this test's own, on SQLite, in front of `engine`."""
    made: list[Gateway] = []

    def make(**changes: object) -> Gateway:
        gateway = Gateway(settings_for(tmp_path / f"home-{len(made)}", engine, **changes))
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.stop()
