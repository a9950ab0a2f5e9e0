"""Forgetting the steps' events of old jobs, in every gateway."""

from __future__ import annotations

import structlog
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.database import Database
from tunesmith.platform.jobs.forgetting import forget_steps

log = structlog.get_logger(__name__)

LOOK_SECONDS = 3600.0
LOOKED_BACK_DAYS = 7.0
"""A gateway looks at all jobs when it starts, and then at those whose time has come lately."""


def step_forgetter(database: Database, days: float) -> Recurring:
    """Deletes the steps' events of jobs that ended `days` ago, while it is entered."""
    return Recurring(_Forgetter(database, days), seconds=LOOK_SECONDS, name="forget steps' events")


class _Forgetter:
    def __init__(self, database: Database, days: float) -> None:
        self._database = database
        self._days = days
        self._looked_back: float | None = None

    async def __call__(self) -> None:
        forgotten = 0
        more = self._days > 0
        while more:
            events, more = await run_in_threadpool(self._some)
            forgotten += events
        self._looked_back = LOOKED_BACK_DAYS
        if forgotten:
            log.info("steps' events forgotten", events=forgotten, after_days=self._days)

    def _some(self) -> tuple[int, bool]:
        with self._database.transaction() as session:
            return forget_steps(session, days=self._days, looked_back_days=self._looked_back)
