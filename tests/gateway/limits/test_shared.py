"""Gateways that share a limit admit it together, and never more than it held and gained."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.limits.virtual import clock, run

from tunesmith.gateway.limits.in_force import CallerLimits, Rates
from tunesmith.gateway.limits.redis_store import RedisStore
from tunesmith.gateway.limits.request_limits import RequestLimits
from tunesmith.gateway.limits.store import BudgetStore, DatabaseStore, MemoryStore
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.domain.errors import RateLimited
from tunesmith.platform.limits.bucket import Grant, Wish, grant

GATEWAYS = 4


class SlowStore(MemoryStore):
    """A memory store whose answer takes some milliseconds, as one over a network."""

    async def take(self, name: str, limit: float, wish: Wish) -> Grant:
        await asyncio.sleep(0.002)
        granted = await super().take(name, limit, wish)
        await asyncio.sleep(0.002)
        return granted


def requests_only(limit: int) -> CallerLimits:
    return CallerLimits("org-1", "key-1", Rates(requests_per_minute=limit), Rates())


@asynccontextmanager
async def gateways(
    store: BudgetStore, time: Callable[[], float] = clock
) -> AsyncIterator[list[RequestLimits]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(RequestLimits(store, clock=time))
            for _ in range(GATEWAYS)
        ]


async def flood(
    limits: RequestLimits, caller: CallerLimits, every: float, seconds: float, tokens: int = 1
) -> int:
    """Requests that got in, of one each `every` seconds."""
    admitted, end = 0, clock() + seconds
    while clock() < end:
        try:
            (await limits.admit(caller, tokens)).settle(tokens)
            admitted += 1
        except RateLimited:
            pass
        await asyncio.sleep(min(every, end - clock()))
    return admitted


async def until_refused(limits: RequestLimits, caller: CallerLimits) -> int:
    """Requests that got in, one after the other, until two hundred in a row did not."""
    admitted = refused = 0
    while refused < 200:
        try:
            (await limits.admit(caller, 1)).settle(1)
            admitted, refused = admitted + 1, 0
        except RateLimited:
            refused += 1
        await asyncio.sleep(0)
    return admitted


@settings(max_examples=12, deadline=None)
@given(
    limit=st.sampled_from([12, 60, 600, 3_000, 12_000]),
    weights=st.lists(st.sampled_from([0, 1, 1, 5]), min_size=4, max_size=4).filter(any),
)
def test_four_gateways_admit_the_limit_of_a_minute(limit: int, weights: list[int]) -> None:
    caller = requests_only(limit)
    every = 60 / limit / 3  # three times what is allowed, over the gateways by their weights

    async def scenario() -> tuple[int, int]:
        async with gateways(SlowStore(clock)) as four:

            async def for_seconds(seconds: float) -> int:
                work = [
                    flood(each, caller, every * sum(weights) / weight, seconds)
                    for each, weight in zip(four, weights, strict=True)
                    if weight
                ]
                return sum(await asyncio.gather(*work))

            first = await for_seconds(60)
            second = await for_seconds(60)
            return first, second

    first, second = run(scenario())
    assert first <= 2 * limit + 1  # what it held, and what it gained
    assert first + second <= 3 * limit + 1  # the last milliseconds of the floods
    assert math.isclose(second, limit, rel_tol=0.05, abs_tol=1)


def test_traffic_that_moves_to_another_gateway_finds_the_limit_there() -> None:
    caller = requests_only(600)

    async def scenario() -> list[int]:
        async with gateways(SlowStore(clock)) as four:
            await flood(four[3], caller, 0.01, 60)
            return [await flood(each, caller, 0.01, 60) for each in four]

    for admitted in run(scenario()):
        assert math.isclose(admitted, 600, rel_tol=0.05)


def test_idle_leases_and_an_end_give_everything_back() -> None:
    caller = CallerLimits("org-1", "key-1", Rates(6_000, 600_000), Rates(3_000))
    store = SlowStore(clock)

    async def scenario() -> list[float]:
        async with gateways(store) as four:
            for each in four:
                (await each.admit(caller, 100)).settle(100)
            await asyncio.sleep(10)
            levels = [await level("tenant:org-1:requests", 6_000)]
        levels.append(await level("tenant:org-1:tokens", 600_000))
        async with gateways(store) as four:
            (await four[0].admit(caller, 200_000)).settle(200_000)
            now = await level("tenant:org-1:tokens", 600_000)
        after = await level("tenant:org-1:tokens", 600_000)
        return [*levels, now, after]

    async def level(name: str, limit: float) -> float:
        return (await store.take(name, limit, Wish(0))).level

    requests, tokens, now, after = run(scenario())
    assert requests == 6_000
    assert tokens == 600_000
    assert now <= 400_100
    assert 400_000 <= after <= 401_000


def test_most_requests_ask_no_store() -> None:
    asked = 0

    class Counting(SlowStore):
        async def take(self, name: str, limit: float, wish: Wish) -> Grant:
            nonlocal asked
            asked += 1
            return await super().take(name, limit, wish)

    async def scenario() -> int:
        async with gateways(Counting(clock)) as four:
            return await flood(four[0], requests_only(12_000), 0.001, 30)

    assert 0.95 * 18_000 <= run(scenario()) <= 18_000
    assert asked < 300


@settings(max_examples=20, deadline=None)
@given(
    limit=st.integers(100, 1_000),
    requests=st.lists(
        st.tuples(st.integers(1, 100), st.integers(0, 300), st.integers(0, 3)), max_size=80
    ),
)
def test_what_requests_really_took_is_what_counts(
    limit: int, requests: list[tuple[int, int, int]]
) -> None:
    caller = CallerLimits("org-1", "key-1", Rates(tokens_per_minute=limit), Rates())
    store = MemoryStore(clock)

    async def scenario() -> tuple[float, float, int]:
        used = 0
        start = clock()
        async with gateways(store) as four:
            for estimate, actual, number in requests:
                try:
                    admission = await four[number].admit(caller, estimate)
                except RateLimited:
                    await asyncio.sleep(0.3)
                    continue
                await asyncio.sleep(0.05)
                admission.settle(actual)
                used += actual
        level = (await store.take("tenant:org-1:tokens", limit, Wish(0))).level
        return level, clock() - start, used

    level, seconds, used = run(scenario())
    gained = seconds * limit / 60
    assert limit - used - 1e-6 <= level <= limit - used + gained + 1e-6


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis of this run's own."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing = "redis-server is not on the PATH: install the package `redis-server`."
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    server = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    url = f"unix://{socket}"
    try:
        asyncio.run(_answers(url))
        yield url
    finally:
        server.terminate()
        server.wait()


async def _answers(url: str) -> None:
    deadline = monotonic() + 20
    while True:
        store = RedisStore(url)
        try:
            await store.take("ping", 1, Wish(0))
            return
        except OSError:
            assert monotonic() < deadline, "redis-server does not answer"
        except Exception:
            if monotonic() > deadline:
                raise
        finally:
            await store.close()
        await asyncio.sleep(0.02)


@pytest.fixture
def database(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> Iterator[Database | None]:
    """The database of `kind`, migrated; none for Redis."""
    if kind == "redis":
        yield None
        return
    url = (
        f"sqlite:///{tmp_path / 'limits.db'}"
        if kind == "sqlite"
        else request.getfixturevalue("postgres_database")
    )
    database = Database(url)
    migrate(database)
    yield database
    database.dispose()


@pytest.fixture
def make_store(
    request: pytest.FixtureRequest, kind: str, database: Database | None
) -> Callable[[], BudgetStore]:
    """Makes stores over the same medium, as each gateway has its own."""
    if database is not None:
        return lambda: DatabaseStore(database)
    url = request.getfixturevalue("redis_url")
    return lambda: RedisStore(url)


@pytest.mark.parametrize("kind", ["redis", "sqlite", "postgres"])
def test_real_stores_are_shared_within_five_per_cent(
    make_store: Callable[[], BudgetStore], kind: str
) -> None:
    limit = 6_000
    caller = requests_only(limit)

    async def scenario() -> tuple[int, float]:
        async with AsyncExitStack() as stack:
            four = []
            for _ in range(GATEWAYS):
                store = make_store()
                stack.push_async_callback(store.close)
                four.append(await stack.enter_async_context(RequestLimits(store)))
            begun = monotonic()
            admitted = sum(await asyncio.gather(*(until_refused(each, caller) for each in four)))
            return admitted, monotonic() - begun

    admitted, seconds = asyncio.run(scenario())
    gained = limit * seconds / 60
    assert admitted <= limit + gained + 1
    assert admitted >= limit * 0.95


@settings(max_examples=10, deadline=None)
@given(
    limit=st.integers(1, 100_000),
    wishes=st.lists(
        st.builds(
            Wish,
            st.integers(0, 1_000),
            st.integers(0, 1_000),
            st.floats(-5_000, 5_000),
        ),
        min_size=1,
        max_size=15,
    ),
)
def test_the_script_in_redis_reckons_as_the_others_do(
    redis_url: str, limit: int, wishes: list[Wish]
) -> None:
    name = f"budget-{limit}-{hash(tuple(wishes))}"

    async def scenario() -> None:
        store = RedisStore(redis_url)
        bucket = None
        try:
            for wish in wishes:
                theirs = await store.take(name, limit, wish)
                ours, bucket = grant(bucket, 0.0, limit, wish)
                # Redis's time passes between the calls: it may have gained a little.
                slack = 0.5 * limit / 60
                level_before = ours.level + ours.granted
                if abs(level_before - max(wish.needed, 1)) > slack:
                    assert abs(theirs.granted - ours.granted) <= slack + 1
                    assert abs(theirs.level - ours.level) <= slack + 1
                bucket = bucket._replace(level=theirs.level)
        finally:
            await store.close()

    asyncio.run(scenario())
