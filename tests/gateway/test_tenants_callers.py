"""Who a key belongs to, as a gateway remembers it: expiry, refusals, and floods of unknown keys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tunesmith.gateway.keys import answers
from tunesmith.gateway.keys.answers import STRANGERS_AT_ONCE, STRANGERS_WAITING, Answers
from tunesmith.gateway.keys.callers import MAX_KEY, Callers
from tunesmith.platform.domain.errors import NotAuthenticated, NotPermitted, Unavailable
from tunesmith.platform.tenants import Caller, incorrect_key


class Database:
    """Knows the keys `good...`, until `bad` has them; can be made to take its time."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.expires_at: float | None = None
        self.suspended: set[str] = set()
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()

    def look_up(self, key: str) -> Caller:
        with self._lock:
            self.asked.append(key)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if not key.startswith("good"):
                assert self.open.wait(10)
                raise incorrect_key(key)
            if key in self.suspended:
                raise NotPermitted("It is suspended.", code="tenant_suspended")
            return Caller(key, f"org-{key}", expires_at=self.expires_at)
        finally:
            with self._lock:
                self.at_once -= 1


def run(scenario: Callable[[Database, Answers[str]], Coroutine[Any, Any, None]]) -> None:
    async def with_both() -> None:
        database = Database()
        await scenario(database, Answers(database.look_up, seconds=1.0, size=500))

    asyncio.run(with_both())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(answers, "monotonic", lambda: now[0])
    return now


def test_a_refusal_is_kept_as_long_as_a_yes(clock: list[float]) -> None:
    async def scenario(database: Database, asked: Answers[str]) -> None:
        said = set()
        for _ in range(5):
            with pytest.raises(NotAuthenticated) as caught:
                await asked.get("bad")
            said.add(caught.value.message)
        assert len(said) == 1
        assert database.asked == ["bad"]
        clock[0] += 1.1
        with pytest.raises(NotAuthenticated):
            await asked.get("bad")
        assert database.asked == ["bad", "bad"]

    run(scenario)


def test_a_suspension_is_kept_and_forgotten(clock: list[float]) -> None:
    async def scenario(database: Database, asked: Answers[str]) -> None:
        database.suspended.add("good")
        for _ in range(3):
            with pytest.raises(NotPermitted) as caught:
                await asked.get("good")
            assert caught.value.code == "tenant_suspended"
        assert database.asked == ["good"]
        database.suspended.clear()
        asked.forget_where(lambda caller: caller.tenant_id == "org-good")
        assert (await asked.get("good")).tenant_id == "org-good"

    run(scenario)


def test_a_flood_of_unknown_keys_is_bounded_and_known_callers_pass() -> None:
    async def scenario(database: Database, asked: Answers[str]) -> None:
        await asked.get("good")
        asked.forget_where(lambda _: True)
        database.open.clear()
        flood = [
            asyncio.create_task(asked.get(f"bad {number}"))
            for number in range(STRANGERS_AT_ONCE + STRANGERS_WAITING + 50)
        ]
        try:
            await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
            assert (await asked.get("good")).key_id == "good"  # although nobody else is answered
        finally:
            database.open.set()
        results = await asyncio.gather(*flood, return_exceptions=True)
        refused = [error for error in results if isinstance(error, Unavailable)]
        assert len(refused) == 50
        assert refused[0].retry_after == 1
        assert sum(isinstance(error, NotAuthenticated) for error in results) == len(flood) - 50
        assert database.most_at_once <= STRANGERS_AT_ONCE + 1

    run(scenario)


def test_what_is_remembered_is_bounded() -> None:
    async def scenario(database: Database, asked: Answers[str]) -> None:
        for number in range(600):
            with pytest.raises(NotAuthenticated):
                await asked.get(f"bad {number}")
            await asked.get(f"good {number}")
        assert len(asked._refused) == 500
        assert len(asked._known) == 500

    run(scenario)


def test_a_key_expires_at_its_moment_although_it_was_just_looked_up() -> None:
    async def scenario() -> None:
        database, now = Database(), [1000.0]
        database.expires_at = 1000.5
        callers = Callers(database.look_up, lambda _: Caller("k", "t"), None, clock=lambda: now[0])
        assert (await callers.get("good")).expires_at == 1000.5
        now[0] = 1000.499
        await callers.get("good")
        now[0] = 1000.5
        with pytest.raises(NotAuthenticated) as caught:
            await callers.get("good")
        assert caught.value.message == incorrect_key("good").message

    asyncio.run(scenario())


def test_a_key_that_is_too_long_is_not_looked_up() -> None:
    async def scenario() -> None:
        database = Database()
        callers = Callers(database.look_up, lambda _: Caller("k", "t"), None)
        with pytest.raises(NotAuthenticated):
            await callers.get("good" + "x" * MAX_KEY)
        assert database.asked == []

    asyncio.run(scenario())
