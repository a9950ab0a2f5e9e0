"""Work that goes on beside requests, whatever comes in its way."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.domain.errors import Unavailable


def turns(*errors: Exception | None, seconds: float = 0.0) -> list[str]:
    """Let work fail in its first turns as told; the levels of what is logged."""
    done = 0

    async def run() -> None:
        enough = asyncio.Event()

        async def work() -> None:
            nonlocal done
            done += 1
            if done > len(errors):
                enough.set()
            elif (error := errors[done - 1]) is not None:
                raise error

        async with Recurring(work, seconds=seconds, name="some work"):
            await enough.wait()

    with capture_logs() as logs:
        asyncio.run(asyncio.wait_for(run(), 30))
    assert {entry["work"] for entry in logs} <= {"some work"}
    return [entry["log_level"] for entry in logs]


def test_what_the_database_denies_is_told_once_until_it_worked_again() -> None:
    away = Unavailable("The database is away.")
    assert turns(away, away, away) == ["warning"]
    assert turns(away, away, None, away) == ["warning", "warning"]


def test_a_fault_of_ours_is_told_each_time_and_does_not_end_it() -> None:
    assert turns(KeyError("x"), KeyError("x")) == ["error", "error"]


@pytest.mark.parametrize("busy", [0.0, 3600.0])
def test_the_blocks_end_ends_it(busy: float) -> None:
    async def run() -> set[asyncio.Task[None]]:
        async with Recurring(lambda: asyncio.sleep(busy), seconds=3600, name="some work"):
            await asyncio.sleep(0)
        return asyncio.all_tasks()

    assert len(asyncio.run(run())) == 1  # the one that asks
