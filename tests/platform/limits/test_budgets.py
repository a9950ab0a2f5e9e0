"""Budgets on both databases: the same arithmetic, taken one after the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select, update

from tunesmith.platform.database import Database
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Budget, Heartbeat
from tunesmith.platform.limits.bucket import Grant, Wish
from tunesmith.platform.limits.budgets import FULL_AFTER_SECONDS, forget_full, take
from tunesmith.platform.limits.gateways import (
    LIVE_SECONDS,
    Place,
    gateway_ends,
    gateway_lives,
)


def ask(
    database: Database, wish: Wish, limit: float = 60, name: str = "tenant:a:requests"
) -> Grant:
    with database.transaction() as session:
        return take(session, name, limit, wish)


def test_it_begins_full_and_refills_by_the_databases_clock(database: Database) -> None:
    assert ask(database, Wish(100)).granted == 60
    assert ask(database, Wish(60, 60)).granted == 0
    with database.transaction() as session:
        session.execute(update(Budget).values(updated_at=Budget.updated_at - 30))
    assert ask(database, Wish(29, 29)).granted == 29
    assert ask(database, Wish(60), name="tenant:b:requests").granted == 60


def test_a_debt_is_kept(database: Database) -> None:
    assert ask(database, Wish(0, returned=-6000.0)).level < -5900
    assert ask(database, Wish(1)).granted == 0


def test_takers_at_once_never_get_more_than_there_is(database: Database) -> None:
    with database.reading() as session:
        started = now(session)
    with ThreadPoolExecutor(8) as threads:
        wishes = [threads.submit(ask, database, Wish(7), 100) for _ in range(64)]
        total = sum(wish.result().granted for wish in wishes)
    with database.reading() as session:
        level = session.scalars(select(Budget.level)).one()
        gained = (now(session) - started) * 100 / 60
    assert 100 <= total <= 100 + gained
    assert level < 7


def test_rows_that_are_full_are_forgotten(database: Database) -> None:
    ask(database, Wish(1))
    ask(database, Wish(1), name="tenant:b:requests")
    with database.transaction() as session:
        session.execute(
            update(Budget)
            .where(Budget.name == "tenant:a:requests")
            .values(updated_at=Budget.updated_at - FULL_AFTER_SECONDS - 1)
        )
        forget_full(session)
        assert session.scalars(select(Budget.name)).all() == ["tenant:b:requests"]


def test_gateways_know_how_many_they_are(database: Database) -> None:
    def lives(name: str) -> Place:
        with database.transaction() as session:
            return gateway_lives(session, name)

    assert lives("b") == Place(0, 1)
    assert lives("a") == Place(0, 2)
    assert lives("b") == Place(1, 2)
    with database.transaction() as session:
        gateway_ends(session, "a")
    assert lives("b") == Place(0, 1)
    lives("c")
    with database.transaction() as session:  # b is killed
        session.execute(
            update(Heartbeat)
            .where(Heartbeat.name == "gateway:b")
            .values(beaten_at=Heartbeat.beaten_at - LIVE_SECONDS - 1)
        )
    assert lives("c") == Place(0, 1)
    with database.transaction() as session:  # an hour later
        session.execute(update(Heartbeat).values(beaten_at=Heartbeat.beaten_at - 3600))
    assert lives("d") == Place(0, 1)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Heartbeat)) == 1


def test_the_parts_of_a_limit_make_the_limit() -> None:
    for limit in range(1, 40):
        for gateways in range(1, 8):
            parts = [Place(rank, gateways).part_of(limit) for rank in range(gateways)]
            assert sum(parts) == max(limit, gateways)
            assert max(parts) - min(parts) <= 1
