"""A store that is away refuses nobody at once, and lets nobody have more than the limit."""

from __future__ import annotations

import asyncio

import pytest
from tests.gateway.limits.virtual import clock, run

from tunesmith.gateway.limits.fail_open import OPEN_SECONDS, FailOpenStore
from tunesmith.gateway.limits.in_force import CallerLimits, Rates
from tunesmith.gateway.limits.redis_store import RedisStore
from tunesmith.gateway.limits.request_limits import RequestLimits
from tunesmith.gateway.limits.store import DatabaseStore, MemoryStore
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import RateLimited, Unavailable
from tunesmith.platform.limits.bucket import Grant, Wish

GATEWAYS = 4
CALLER = CallerLimits("org-1", "key-1", Rates(requests_per_minute=600), Rates())


class Flaky(MemoryStore):
    """A store that can be taken away, by an error or by silence."""

    away: Exception | None = None
    silent = False
    asked = 0

    async def take(self, name: str, limit: float, wish: Wish) -> Grant:
        self.asked += 1
        if self.silent:
            await asyncio.sleep(3600)
        if self.away is not None:
            raise self.away
        return await super().take(name, limit, wish)


async def flood(limits: RequestLimits, seconds: float) -> int:
    admitted, end = 0, clock() + seconds
    while clock() < end:
        try:
            (await limits.admit(CALLER, 1)).settle(1)
            admitted += 1
        except RateLimited:
            pass
        await asyncio.sleep(0.01)
    return admitted


@pytest.mark.parametrize("silent", [False, True])
def test_each_gateway_goes_on_with_its_share(silent: bool) -> None:
    async def scenario() -> None:
        store = Flaky(clock)
        guarded = FailOpenStore(store, lambda: 1 / GATEWAYS, clock)
        async with RequestLimits(guarded, clock=clock) as limits:
            await flood(limits, 120)
            store.away, store.silent = OSError("gone"), silent
            asked, begun = store.asked, clock()
            alone = await flood(limits, 60)
            seconds = clock() - begun
            assert 0.9 * 150 * seconds / 60 <= alone <= 150 * seconds / 60 + 160
            assert store.asked - asked <= 62  # once a second
            store.away, store.silent = None, False
            await flood(limits, 60)  # what the store gained meanwhile
            assert 570 <= await flood(limits, 60) <= 630

    run(scenario())


def test_it_goes_on_for_a_bounded_time_and_comes_back_by_itself() -> None:
    async def scenario() -> None:
        store = Flaky(clock)
        async with RequestLimits(FailOpenStore(store, lambda: 1.0, clock), clock=clock) as limits:
            store.away = OSError("gone")
            (await limits.admit(CALLER, 1)).settle(1)
            await asyncio.sleep(OPEN_SECONDS + 5)
            with pytest.raises(Unavailable, match="store of limits is away"):
                await flood(limits, 1)
            store.away = None
            await asyncio.sleep(2)
            (await limits.admit(CALLER, 1)).settle(1)

    run(scenario())


def test_a_request_larger_than_a_share_is_let_in() -> None:
    async def scenario() -> Grant:
        store = Flaky(clock)
        store.away = OSError("gone")
        return await FailOpenStore(store, lambda: 0.25, clock).take("a", 1_000, Wish(900, 900))

    assert run(scenario()).granted == 900


def test_a_redis_and_a_database_that_do_not_answer_refuse_nobody() -> None:
    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")

    async def scenario() -> None:
        for store in (RedisStore("redis://127.0.0.1:1"), DatabaseStore(nowhere)):
            async with RequestLimits(FailOpenStore(store, lambda: 0.5)) as limits:
                for _ in range(300):
                    (await limits.admit(CALLER, 1)).settle(1)
                assert await flood(limits, 0.5) <= 30
            await store.close()

    asyncio.run(scenario())
    nowhere.dispose()
