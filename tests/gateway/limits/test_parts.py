"""A gateway's limits as its settings put them together, several gateways on one database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import func, select

from tunesmith.gateway.limits.gateways import LiveGateways
from tunesmith.gateway.limits.in_force import CallerLimits, Rates
from tunesmith.gateway.limits.parts import open_limits
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Budget, Heartbeat
from tunesmith.platform.domain.errors import RateLimited
from tunesmith.platform.limits.gateways import ALONE, Place
from tunesmith.platform.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, requests_per_minute=10, concurrent_requests=4)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    migrate(database)
    yield database
    database.dispose()


def test_two_gateways_share_the_limits_of_a_tenant(settings: Settings, database: Database) -> None:
    caller = CallerLimits.in_force("org-1", "key-1", Rates.of_settings(settings), None, None)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            two = [
                await stack.enter_async_context(open_limits(settings, database)) for _ in range(2)
            ]
            admitted, begun = 0, monotonic()
            for number in range(40):
                limits = two[number % 2]
                try:
                    (await limits.admit(caller, 1)).settle(1)
                    admitted += 1
                except RateLimited:
                    pass
            assert 10 <= admitted <= 11 + (monotonic() - begun) / 6

    asyncio.run(scenario())
    with database.reading() as session:
        assert session.scalars(select(Budget.name)).all() == ["tenant:org-1:requests"]
        assert session.scalar(select(func.count()).select_from(Heartbeat)) == 0


def test_a_gateway_takes_over_the_part_of_one_that_ends(database: Database) -> None:
    async def scenario() -> None:
        async with LiveGateways(database, seconds=3600) as one:
            assert one.place() == ALONE
            async with LiveGateways(database, seconds=3600) as two:
                await one.beat()
                assert {one.place(), two.place()} == {Place(0, 2), Place(1, 2)}
                assert one.share() == 0.5
            await one.beat()
            assert one.place() == ALONE

    asyncio.run(scenario())


def test_without_a_database_the_last_known_place_stands(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")  # without tables, every beat fails

    async def scenario() -> None:
        async with LiveGateways(empty, seconds=3600) as alone:
            assert alone.place() == ALONE

    asyncio.run(scenario())
    empty.dispose()
