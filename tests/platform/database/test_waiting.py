"""Processes wait for a database that is late, and say what they wait for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from tests.platform.database.test_compatibility import become
from tests.postgres import PostgresServer

from tunesmith.platform.database import Database, migrate, until_done, wait_for_schema, waiting
from tunesmith.platform.database.schema import known_revisions
from tunesmith.platform.domain.errors import InvalidRequest, Unavailable
from tunesmith.platform.settings import Settings


class Waiter:
    """`wait_for_schema` in a thread, and what it says."""

    def __init__(self, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pool = pool
        self._said = threading.Condition()
        self.reasons: list[dict[str, Any]] = []
        self.stopping = threading.Event()
        monkeypatch.setattr(waiting.log, "warning", self._hear, raising=False)

    def begin(self, database: Database, mode: Literal["auto", "wait"]) -> Future[bool]:
        settings = Settings(database_url=database.url, migrate=mode)
        return self._pool.submit(wait_for_schema, database, settings, self.stopping)

    def wait_until_said(self, words: str) -> None:
        with self._said:
            found = self._said.wait_for(
                lambda: any(words in reason["reason"] for reason in self.reasons), 30
            )
        assert found, self.reasons

    def _hear(self, _event: str, **fields: Any) -> None:
        with self._said:
            self.reasons.append(fields)
            self._said.notify_all()


@pytest.fixture
def waiter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiter]:
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.02)
    monkeypatch.setattr(waiting, "MOST_SECONDS", 0.02)
    with ThreadPoolExecutor() as pool:
        waiter = Waiter(pool, monkeypatch)
        yield waiter
        waiter.stopping.set()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, which does not run yet."""
    server = PostgresServer()
    yield server
    server.remove()


def test_it_waits_until_somebody_else_has_migrated(waiter: Waiter, postgres_database: str) -> None:
    database = Database(postgres_database)
    done = waiter.begin(database, "wait")
    waiter.wait_until_said("it has no schema; this code needs")
    migrate(database, "0006")
    waiter.wait_until_said("its schema is 0006; this code's is")
    migrate(database)
    assert done.result(30)
    become(database, "9999", "9998")
    done = waiter.begin(database, "wait")
    waiter.wait_until_said("may not use it")
    become(database, "9999", known_revisions()[-1])
    assert done.result(30)
    database.dispose()


def test_it_migrates_by_itself_where_it_is_to(waiter: Waiter, postgres_database: str) -> None:
    database = Database(postgres_database)
    assert waiter.begin(database, "auto").result(30)
    assert waiter.begin(database, "wait").result(30)
    assert waiter.reasons == []
    database.dispose()


def test_a_server_that_starts_late_and_restarts_is_found_again(
    waiter: Waiter, server: PostgresServer
) -> None:
    database = Database(server.url)
    done = waiter.begin(database, "auto")
    waiter.wait_until_said("not available")
    server.start()
    assert done.result(30)
    with database.transaction() as session:  # in the pool from here on
        session.execute(text("SELECT 1"))

    def stop_meanwhile() -> None:
        with database.transaction() as session:
            session.execute(text("SELECT 1"))
            server.stop()
            session.execute(text("SELECT 1"))

    try:
        with pytest.raises(Unavailable):
            stop_meanwhile()
        with pytest.raises(Unavailable):
            database.ping()
    finally:
        server.start()
    database.ping()
    database.dispose()
    server.stop()


@pytest.mark.parametrize("mode", ["auto", "wait"])
def test_waiting_ends_when_the_process_is_to(
    waiter: Waiter, tmp_path: Path, mode: Literal["auto", "wait"]
) -> None:
    database = Database(f"postgresql://ada:secret@/tunesmith?host={tmp_path}&port=6543")
    done = waiter.begin(database, mode)
    waiter.wait_until_said("not available")
    waiter.stopping.set()
    assert not done.result(30)
    assert waiter.reasons[0]["database"] == (
        f"the PostgreSQL database 'tunesmith' at {tmp_path}:6543"
    )
    assert "secret" not in str(waiter.reasons)


def test_it_gives_up_after_its_time(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://ada:secret@127.0.0.1:1/t?host={tmp_path}")
    with capture_logs(), pytest.raises(Unavailable, match=r"Gave up on .* after 0 s: ") as refused:
        until_done(database.ping, database, threading.Event(), seconds=0)
    assert "secret" not in refused.value.message


def test_sqlite_is_not_waited_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    settings = Settings(database_url=database.url, migrate="wait")
    with pytest.raises(InvalidRequest, match="TUNESMITH_MIGRATE"):
        wait_for_schema(database, settings, threading.Event())
    database.dispose()


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_attempts_become_rarer_up_to_a_bound(monkeypatch: pytest.MonkeyPatch, draw: float) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: low + draw * (high - low))
    delays = waiting._delays()
    drawn = [next(delays) for _ in range(10)]
    assert drawn == sorted(drawn)
    assert drawn[0] >= waiting.FIRST_SECONDS / 2
    assert drawn[-1] <= waiting.MOST_SECONDS


def test_a_primary_that_can_only_be_read_is_away(postgres_database: str) -> None:
    database = Database(postgres_database)
    statement = text("SET TRANSACTION READ ONLY; CREATE TABLE t (a int)")
    with pytest.raises(Unavailable, match="read-only"), database.transaction() as session:
        session.execute(statement)
    with database.transaction() as session:
        name = database.engine.url.database
        session.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    database.dispose()
    with pytest.raises(Unavailable, match="read-only"):
        database.ping()
