"""What all tests have: a real PostgreSQL, logs as they were before, and how tests are spread."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg import sql
from tests.postgres import PostgresServer
from xdist.scheduler import LoadScopeScheduling

_WHOLE_PLATFORMS = ("tests/end_to_end/", "tests/stack/test_")


class _EndToEndInARow(LoadScopeScheduling):  # type: ignore[misc]
    """Each file's tests on one worker of pytest-xdist, and all end-to-end tests on another.

    They start platforms that take all cores: two at once would only wait for each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "end_to_end" if path.startswith(_WHOLE_PLATFORMS) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """How tests are spread, where they run on several workers at all."""
    return _EndToEndInARow(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long and is told in short by other tests runs where it is asked for."""
    asked = pytest.mark.skip(reason="takes minutes: run `make chaos`")
    for item in items:
        if item.get_closest_marker("chaos") and os.environ.get("TUNESMITH_CHAOS") != "1":
            item.add_marker(asked)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Commands set up the logs of their process, which is the tests' where they run in it."""
    root = logging.getLogger()
    handlers, level, structure = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structure)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of an empty database of a running server; `postgres_database` makes more."""
    server = PostgresServer()
    try:
        server.start()
        try:
            yield server.url
        finally:
            server.stop()
    finally:
        server.remove()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    name = f"test_{uuid4().hex}"
    identifier = sql.Identifier(name)
    server = postgres_url.replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield postgres_url.replace("/postgres?", f"/{name}?")
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
