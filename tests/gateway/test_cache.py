"""The cache of the database's answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tunesmith.gateway import cache
from tunesmith.gateway.cache import TtlCache
from tunesmith.platform.domain.errors import Unavailable


class Source:
    """Something slow that is asked, and says how often."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.value = 1
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def load(self, key: str) -> int:
        self.asked.append(key)
        value = self.value
        self.entered.set()
        assert self.open.wait(10)
        if key == "bad":
            raise KeyError(key)
        if self.error is not None:
            raise self.error
        return value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(cache, "monotonic", lambda: now[0])
    return now


def run(scenario: Callable[[Source], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario(Source()))


def test_an_answer_is_kept_for_its_time(clock: list[float]) -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=1.0)
        assert await kept.get("a") == 1
        source.value = 2
        clock[0] += 0.9
        assert await kept.get("a") == 1
        clock[0] += 0.2
        assert await kept.get("a") == 2
        assert source.asked == ["a", "a"]

    run(scenario)


def test_many_that_ask_at_once_share_one_load() -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=10.0)
        source.open.clear()
        asking = [asyncio.create_task(kept.get("a")) for _ in range(20)]
        await asyncio.to_thread(source.entered.wait, 10)
        asking[0].cancel()  # one who leaves takes the answer from nobody
        source.open.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert answers[1:] == [1] * 19
        assert source.asked == ["a"]

    run(scenario)


def test_a_failure_is_raised_and_not_kept() -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=10.0)
        for _ in range(2):
            with pytest.raises(KeyError):
                await kept.get("bad")
        assert source.asked == ["bad", "bad"]

    run(scenario)


@pytest.mark.parametrize("by", ["key", "value"])
def test_what_was_forgotten_during_its_load_is_not_kept(by: str) -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=10.0)
        source.open.clear()
        early = asyncio.create_task(kept.get("a"))
        await asyncio.to_thread(source.entered.wait, 10)
        source.value = 2
        if by == "key":
            kept.forget("a")
        else:
            kept.forget_where(lambda _: True)
        source.open.set()
        assert await early == 1
        assert await kept.get("a") == 2

    run(scenario)


def test_it_forgets_by_value_and_never_grows_past_its_size() -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=10.0, size=2)
        for key in ("a", "b", "c"):
            await kept.get(key)
        await kept.get("c")
        assert source.asked == ["a", "b", "c"]
        await kept.get("a")  # the oldest had gone
        assert source.asked == ["a", "b", "c", "a"]
        kept.forget_where(lambda value: value == 1)
        await kept.get("a")
        assert source.asked[-1] == "a"
        assert len(source.asked) == 5

    run(scenario)


def test_while_the_database_is_away_what_was_known_is_good_for_longer(clock: list[float]) -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=1.0, stale_seconds=60.0)
        assert await kept.get("a") == 1
        source.error = Unavailable("away")
        source.value = 2
        clock[0] += 2
        assert [await kept.get("a") for _ in range(5)] == [1] * 5
        assert source.asked == ["a", "a"]  # one asks in a while, the others do not wait
        with pytest.raises(Unavailable):
            await kept.get("new")
        clock[0] += 2
        source.error = None
        assert await kept.get("a") == 2
        source.error = Unavailable("away again")
        clock[0] += 62
        with pytest.raises(Unavailable):
            await kept.get("a")

    run(scenario)


def test_while_the_database_does_not_answer_what_was_known_is_good_for_longer(
    clock: list[float],
) -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=1.0, patience_seconds=0.0)
        assert await kept.get("a") == 1
        source.open.clear()
        source.value = 2
        clock[0] += 2
        assert await kept.get("a") == 1
        source.open.set()
        clock[0] += 2
        assert await kept.get("b") == 2
        await asyncio.wait_for(_until(kept, "a", 2), 10)

    run(scenario)


def test_what_was_found_to_be_no_more_does_not_come_back(clock: list[float]) -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=1.0)
        assert await kept.get("a") == 1
        clock[0] += 2
        source.error = KeyError("a")
        with pytest.raises(KeyError):
            await kept.get("a")
        source.error = Unavailable("away")
        with pytest.raises(Unavailable):
            await kept.get("a")

    run(scenario)


def test_what_is_forgotten_does_not_come_back_while_the_database_is_away(
    clock: list[float],
) -> None:
    async def scenario(source: Source) -> None:
        kept = TtlCache(source.load, seconds=1.0)
        assert await kept.get("a") == 1
        clock[0] += 2
        source.error = Unavailable("away")
        assert await kept.get("a") == 1
        kept.forget("a")
        with pytest.raises(Unavailable):
            await kept.get("a")

    run(scenario)


async def _until(kept: TtlCache[str, int], key: str, value: int) -> None:
    while await kept.get(key) != value:  # noqa: ASYNC110 - what is awaited is kept nowhere else
        await asyncio.sleep(0.01)
