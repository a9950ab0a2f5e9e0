"""`python -m tests.benchmarks.gateway.growth_work URL CALLS`: what dispatcher, evaluator and
gateways ask the database for by themselves, timed; seconds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from tunesmith.platform import claims, files, models
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import DataReport
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import queue
from tunesmith.platform.usage.stored import sample

from .growth_rows import BASE

CLAIM, IDLE_CLAIM, IDLE_EVALUATOR = "claim", "claim, nothing waits", "evaluator's claim"
LEASES, EXPIRED = "abandoned leases", "expired files"
FORGOTTEN, STORED = "forgotten adapters", "storage of a day"

_WARM = 3
"""Calls before the first that counts: a process's first statements are compiled."""
_RARE = 25
"""Of so many calls, one of what is done once a minute or once an hour."""


def measure(url: str, calls: int) -> dict[str, list[float]]:
    """Seconds of each call, its transaction included."""
    database = Database(url)
    seconds: dict[str, list[float]] = {}

    @contextmanager
    def timed(name: str) -> Iterator[Session]:
        begun = time.perf_counter()
        with database.transaction() as session:
            yield session
        seconds.setdefault(name, []).append(time.perf_counter() - begun)

    for turn in range(-_WARM, calls):
        if turn == 0:
            seconds.clear()
        with timed(CLAIM) as session:
            lease = queue.claim(session, "growth", 60.0, status=JobStatus.QUEUED, bases=[BASE])
        assert lease is not None, "there are jobs that wait"
        with database.transaction() as session:
            queue.release(session, lease)
        with timed(IDLE_CLAIM) as session:
            none = queue.claim(
                session, "growth", 60.0, status=JobStatus.VALIDATING_FILES, bases=["no such base"]
            )
        assert none is None
        with timed(IDLE_EVALUATOR) as session:
            claims.claim(session, DataReport, 60.0, max_attempts=5)
        with timed(LEASES) as session:
            queue.requeue_abandoned(session, max_attempts=5)
    rare: dict[str, Callable[[Session], object]] = {
        EXPIRED: files.expired_files,
        FORGOTTEN: lambda session: models.unreferred(session, older_than=3600.0),
        STORED: lambda session: sample(session, datetime.now(UTC).date()),
    }
    for name, work in rare.items():
        for _ in range(max(1, calls // _RARE)):
            with timed(name) as session:
                work(session)
    database.dispose()
    return seconds


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
