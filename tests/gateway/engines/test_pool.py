"""The pool with engines on sockets: drained, deleted from, warmed, failing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.gateway.engines.fleets import digest_of
from tests.gateway.fake_engine import FakeEngine

from tunesmith.gateway.engines.breaker import FAILURES, BreakerState
from tunesmith.gateway.engines.engine import Load
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.platform.domain.errors import Unavailable

BASE = "pocket"
ONE = digest_of(1)


@pytest.fixture
def fakes() -> Iterator[list[FakeEngine]]:
    made = [FakeEngine(), FakeEngine()]
    for fake in made:
        fake.start()
    yield made
    for fake in made:
        fake.kill()


def with_pool(
    fakes: list[FakeEngine], test: Callable[[EnginePool], Awaitable[None]], *, holds: int = 64
) -> None:
    """Run a test in a pool whose engines are all up."""

    async def run() -> None:
        pool = EnginePool(
            [fake.url for fake in fakes],
            wait_seconds=0.2,
            slots=4,
            holds=holds,
            makes_room=True,
            look_seconds=0.02,
        )
        async with pool:
            await until(lambda: len(pool.serving(BASE)) == len(fakes))
            await test(pool)

    asyncio.run(asyncio.wait_for(run(), 30))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is to come about; the test's time limit bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.01)


class Told:
    """A source of engines that a test tells what to say: those that are ready, and that drain."""

    name = "told"
    server_name = None

    def __init__(self, *ready: str) -> None:
        self.says: tuple[list[str], list[str]] = list(ready), []

    async def find(self) -> tuple[list[str], list[str]]:
        return self.says


def test_an_engine_that_its_source_drains_ends_what_it_has_and_gets_nothing(
    fakes: list[FakeEngine],
) -> None:
    source = Told(*(fake.url for fake in fakes))

    async def run() -> None:
        pool = EnginePool(
            [], wait_seconds=0.2, slots=4, holds=64, look_seconds=0.02, sources=[source]
        )
        async with pool:
            await until(lambda: len(pool.serving(BASE)) == 2)
            first, second = pool.engines
            with first.serving():
                source.says = [second.url], []
                await until(lambda: first.leaving)
                assert {await pool.acquire(BASE, None) for _ in range(20)} == {second}
                assert first in pool.engines, "it has a request to end"
            source.says = [first.url], [second.url]
            await until(lambda: second.leaving and first.url in {e.url for e in pool.serving(BASE)})
            assert (await pool.acquire(BASE, None)).url == first.url
            source.says = [], [first.url, second.url]
            await until(lambda: not pool.serving(BASE))
            with pytest.raises(Unavailable):
                await pool.acquire(BASE, None)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_deletion_is_asked_for_until_every_engine_has_confirmed(
    fakes: list[FakeEngine],
) -> None:
    for fake in fakes:
        fake.adapters.add(ONE)
        fake.loaded.add(ONE)

    async def test(pool: EnginePool) -> None:
        fakes[1].unload_status = 500
        done = await pool.unload(ONE)
        assert list(done.confirmed) == [fakes[0].url]
        assert list(done.waiting) == [fakes[1].url]
        assert ONE in fakes[1].loaded
        fakes[1].unload_status = 200
        await until(lambda: ONE not in fakes[1].loaded)

    with_pool(fakes, test)


def test_an_engine_that_was_out_of_reach_is_asked_when_it_is_back(
    fakes: list[FakeEngine],
) -> None:
    async def test(pool: EnginePool) -> None:
        fakes[1].healthy = False
        await until(lambda: not pool.engines[1].is_up)
        fakes[1].loaded.add(ONE)
        done = await pool.unload(ONE)
        assert list(done.waiting) == []
        fakes[1].healthy = True
        await until(lambda: ONE not in fakes[1].loaded)

    with_pool(fakes, test)


def test_an_adapter_that_is_pulled_once_more_after_its_deletion_goes_again(
    fakes: list[FakeEngine],
) -> None:
    async def test(pool: EnginePool) -> None:
        await pool.unload(ONE)
        fakes[0].loaded.add(ONE)  # by a request that was under way
        await until(lambda: ONE not in fakes[0].loaded)

    with_pool(fakes, test)


def test_a_hot_adapter_is_pulled_by_a_second_home(fakes: list[FakeEngine]) -> None:
    for fake in fakes:
        fake.adapters.add(ONE)

    async def test(pool: EnginePool) -> None:
        for _ in range(200):
            engine = await pool.acquire(BASE, ONE)
            with engine.serving(ONE):
                pass
            pool.served(engine, BASE, ONE)
        assert len([engine for engine in pool.engines if ONE in engine.adapters]) == 1
        await until(lambda: all(ONE in engine.adapters for engine in pool.engines))
        assert [len(fake.pulls) > 0 for fake in fakes].count(True) >= 1

    with_pool(fakes, test)


def test_room_is_made_in_an_engine_before_it_has_to_evict(fakes: list[FakeEngine]) -> None:
    fake = fakes[0]
    digests = [digest_of(number) for number in range(6)]

    async def test(pool: EnginePool) -> None:
        (engine,) = pool.engines
        for digest in digests:
            assert pool.try_acquire(BASE, digest) is engine
            with engine.serving(digest):
                await asyncio.sleep(0)
                await until(lambda: len(engine.adapters) <= 3)
            pool.served(engine, BASE, digest)
        await until(lambda: len(fake.unloaded) == 2)
        assert digests[-1] in engine.adapters

    with_pool([fake], test, holds=4)


def test_an_engine_that_keeps_failing_rests(fakes: list[FakeEngine]) -> None:
    async def test(pool: EnginePool) -> None:
        first, second = pool.engines
        for _ in range(FAILURES):
            pool.failed(first)
        assert first.breaker.state is BreakerState.OPEN
        assert {await pool.acquire(BASE, None) for _ in range(20)} == {second}
        pool.succeeded(first)
        assert first in {await pool.acquire(BASE, None, exclude=second)}

    with_pool(fakes, test)


def test_the_load_that_an_engine_reports_counts(fakes: list[FakeEngine]) -> None:
    fakes[0].metrics = "vllm:num_requests_running 9.0\nvllm:num_requests_waiting 4.0\n"

    async def test(pool: EnginePool) -> None:
        first, second = pool.engines
        await until(lambda: first.load is not None)
        assert first.load == Load(running=9, waiting=4)
        assert first.others == 13
        assert second.load is None
        assert pool.try_acquire(BASE, None) is second

    with_pool(fakes, test)


def test_an_excluded_engine_counts_again_when_it_was_restarted(fakes: list[FakeEngine]) -> None:
    async def test(pool: EnginePool) -> None:
        (engine,) = pool.engines
        pool.refused(engine, OSError("refused"))
        assert await pool.acquire(BASE, None, exclude=engine) is engine
        with pytest.raises(Unavailable):
            await pool.acquire(BASE, None, exclude=engine)

    with_pool(fakes[:1], test)
