"""The runner: takes batches up that nobody works on, and answers their requests."""

from __future__ import annotations

import asyncio
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.batches import leases
from tunesmith.platform.batches.leases import Lease
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Batch
from tunesmith.platform.domain.errors import LeaseLost, TunesmithError
from tunesmith.platform.storage import Storage

from .asking import Ask
from .holding import Holding, end_tasks
from .work import FindModel, Means, Work

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How long a new batch waits for a gateway that has nothing else to do."""

PAUSE_SECONDS = 10.0
"""How long a batch is left alone when the work on it failed."""


class BatchRunner:
    """Works on batches while it is entered.

    `concurrency` requests are at engines at once, of as many batches at most, which take turns.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        ask: Ask,
        find_model: FindModel,
        *,
        concurrency: int,
        lease_seconds: float,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._means = Means(
            database, storage, ask, find_model, concurrency, asyncio.Semaphore(concurrency)
        )
        self._lease_seconds = lease_seconds
        self._working: set[asyncio.Task[None]] = set()
        self._claiming = Recurring(self._claim_all, seconds=poll_seconds, name="claim batches")

    async def __aenter__(self) -> BatchRunner:
        await self._claiming.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End in order: answers that have come are kept, and batches given back at once."""
        await self._claiming.__aexit__(kind, error, trace)
        await end_tasks(*self._working)

    async def _claim_all(self) -> None:
        while len(self._working) < self._means.concurrency:
            claimed = await run_in_threadpool(self._claim)
            if claimed is None:
                return
            task = asyncio.create_task(self._work(*claimed), name=f"work on {claimed[1].id}")
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    def _claim(self) -> tuple[Lease, Batch] | None:
        with self._database.reading() as session:
            if not leases.any_free(session):
                return None
        with self._database.transaction() as session:
            return leases.claim(session, self._lease_seconds)

    async def _work(self, lease: Lease, batch: Batch) -> None:
        pause = 0.0
        try:
            await Work(
                self._means, Holding(self._database, lease, batch, self._lease_seconds)
            ).run()
        except LeaseLost:
            log.warning("a batch was taken over by another gateway", batch=batch.id)
        except Exception:  # it is logged, and the batch taken up again
            log.exception("work on a batch failed", batch=batch.id)
            pause = PAUSE_SECONDS
        finally:
            await run_in_threadpool(self._give_back, lease, pause)

    def _give_back(self, lease: Lease, pause: float) -> None:
        """Without effect where the batch has ended: then the lease is no more."""
        try:
            with self._database.transaction() as session:
                leases.give_back(session, lease, after=pause)
        except (TunesmithError, SQLAlchemyError) as error:
            log.warning("a batch is free when its lease ends", error=str(error))
