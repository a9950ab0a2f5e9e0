"""A transaction is whole or nothing, and says in our words when the database is away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tunesmith.platform.database import Database, connection
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Tenant
from tunesmith.platform.domain.errors import InvalidRequest, LeaseLost, NotFound, Unavailable
from tunesmith.platform.tenants import create_tenant, get_tenant, list_tenants

if TYPE_CHECKING:
    from tests.platform.conftest import World


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return [tenant.name for tenant in list_tenants(session).items]


def test_an_exception_undoes_the_transaction_and_passes_unchanged(database: Database) -> None:
    error = LeaseLost("gone")

    def work() -> None:
        with database.transaction() as session:
            create_tenant(session, "Ada")
            raise error

    with pytest.raises(LeaseLost) as caught:
        work()
    assert caught.value is error
    assert names(database) == []


def test_reading_writes_nothing(database: Database) -> None:
    with database.reading() as session:
        create_tenant(session, "Ada")
    assert names(database) == []


def test_a_broken_constraint_is_not_called_unavailable(world: World) -> None:
    tenant_id = world.tenant("Ada")
    with pytest.raises(IntegrityError), world.database.transaction() as session:
        session.add(Tenant(id=tenant_id, name="Eve", slug="eve", created_at=0.0))
    assert names(world.database) == ["Ada"]


def test_foreign_keys_hold(world: World) -> None:
    tenant_id = world.tenant()
    with pytest.raises(IntegrityError), world.database.transaction() as session:
        session.execute(text("DELETE FROM tenants WHERE id = :id"), {"id": tenant_id})


def test_a_text_that_cannot_be_kept_is_the_clients_mistake(postgres: Database) -> None:
    with pytest.raises(InvalidRequest, match="NUL"), postgres.transaction() as session:
        create_tenant(session, "A\0da")
    with pytest.raises(InvalidRequest), postgres.reading() as session:
        get_tenant(session, "A\0da")
    assert names(postgres) == []


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://tunesmith@/tunesmith?host={tmp_path}")
    with pytest.raises(Unavailable) as caught:
        database.ping()
    assert caught.value.code == "database_unavailable"
    assert caught.value.retry_after > 0
    with pytest.raises(Unavailable), database.transaction() as session:
        session.execute(text("SELECT 1"))
    database.dispose()


def test_a_connection_that_is_cut_is_unavailable_and_the_next_one_works(
    postgres: Database,
) -> None:

    def work() -> None:
        with postgres.transaction() as session:
            create_tenant(session, "Ada")
            victim = session.scalar(text("SELECT pg_backend_pid()"))
            with postgres.transaction() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": victim})
            create_tenant(session, "Eve")

    with pytest.raises(Unavailable):
        work()
    assert names(postgres) == []
    with postgres.transaction() as session:
        create_tenant(session, "Eve")
    assert names(postgres) == ["Eve"]


def test_a_lock_held_for_too_long_is_unavailable(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LOCK_SECONDS", 0.01)
    hasty = Database(sqlite.url)
    with sqlite.transaction() as session:
        create_tenant(session, "Ada")
        with pytest.raises(Unavailable, match="locked"), hasty.transaction() as other:
            create_tenant(other, "Eve")
        with hasty.reading() as reader:  # a reader neither waits nor sees what is unfinished
            assert list_tenants(reader).items == []
    assert names(hasty) == ["Ada"]
    hasty.dispose()


def test_a_full_disk_is_unavailable_and_loses_nothing(sqlite: Database) -> None:
    with sqlite.transaction() as session:
        create_tenant(session, "Ada")

    def fill() -> None:
        with sqlite.transaction() as session:
            pages = session.scalar(text("PRAGMA page_count"))
            session.execute(text(f"PRAGMA max_page_count = {pages}"))
            for number in range(10_000):
                create_tenant(session, f"tenant {number} {'x' * 100}")

    with pytest.raises(Unavailable, match="full"):
        fill()
    assert names(sqlite) == ["Ada"]


def test_an_exhausted_pool_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="in use"), connection.readable_errors():
        raise PoolTimeout


def test_the_clock_is_the_databases(database: Database) -> None:
    with database.transaction() as session:
        moments = [now(session), now(session)]
        # Epoch seconds by another way than the one under test.
        other = (
            "CAST(strftime('%s', 'now') AS INTEGER)"
            if database.is_sqlite
            else "floor(extract(epoch FROM clock_timestamp()))"
        )
        second = float(session.scalar(text(f"SELECT {other}")) or 0)
    assert moments == sorted(moments)
    assert moments[0] - 1 < second + 1
    assert abs(second - moments[1]) < 60


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "no url", ""])
def test_an_url_that_is_no_database_of_ours_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Database(url)
    assert caught.value.param == "database_url"


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(InvalidRequest) as caught:
        Database("postgresql//me:hunter2@host/x")
    assert "hunter2" not in caught.value.message


def test_not_found_passes(database: Database) -> None:
    with pytest.raises(NotFound), database.reading() as session:
        get_tenant(session, "nobody")
    with database.reading() as session:
        assert session.scalars(select(Tenant)).all() == []
