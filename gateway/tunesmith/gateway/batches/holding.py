"""A batch that this gateway holds: its lease kept, and watched for what ends it early."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.platform.batches import leases, status
from tunesmith.platform.batches.leases import Lease
from tunesmith.platform.database import Database
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Batch
from tunesmith.platform.domain.errors import LeaseLost, TunesmithError

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
"""How soon a cancel is seen; sooner where a lease is short."""


@dataclass(frozen=True)
class Outcome:
    """How a batch ends, and its `errors`."""

    status: str
    errors: list[dict[str, Any]] | None = None


class Holding:
    """A batch under a lease of `seconds`; `completed` and `failed` are written down with it."""

    def __init__(self, database: Database, lease: Lease, batch: Batch, seconds: float) -> None:
        self.lease = lease
        self.batch = batch
        self.completed = batch.completed
        self.failed = batch.failed
        self._database = database
        self._seconds = seconds
        self._outcome: Outcome | None = None
        self._ending = asyncio.Event()

    async def look(self) -> None:
        """Prolong the lease, and see whether the batch may go on.

        Raises:
            LeaseLost: it is somebody else's by now.
            Unavailable: the database does not answer.
        """
        found = await run_in_threadpool(self._look)
        if found is not None and self._outcome is None:
            self._outcome = found
            self._ending.set()

    async def keep(self) -> None:
        """Look now and then, without end.

        Raises:
            LeaseLost: it is somebody else's by now.
            Unavailable: the database has not answered for as long as the lease lasts.
        """
        good_until = monotonic() + self._seconds
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._seconds / 3))
            begun = monotonic()
            try:
                await self.look()
            except LeaseLost:
                raise
            except (TunesmithError, SQLAlchemyError) as error:
                if monotonic() > good_until:
                    raise
                log.warning("lease of a batch not renewed", batch=self.batch.id, error=str(error))
            else:
                good_until = begun + self._seconds

    async def unless_ending(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """What `work` comes to, or what ends the batch before that; `work` is cancelled then."""
        task = asyncio.create_task(work)
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() or self._outcome is None:
                return await task
        finally:
            await end_tasks(task, ending)
        return self._outcome

    def _look(self) -> Outcome | None:
        with self._database.transaction() as session:
            found = leases.renew(
                session, self.lease, self._seconds, completed=self.completed, failed=self.failed
            )
        if found == status.CANCELLING:
            return Outcome(status.CANCELLED)
        with self._database.reading() as session:
            reason = leases.why_not(session, self.batch.id)
            over = now(session) >= self.batch.expires_at
        if reason is not None:
            error = {"code": reason.code, "message": reason.message, "param": None, "line": None}
            return Outcome(status.FAILED, [error])
        return Outcome(status.EXPIRED) if over else None


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and return when they have ended, however they did."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
