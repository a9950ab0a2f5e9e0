"""Sampling what tenants have in storage, in every gateway."""

from __future__ import annotations

import asyncio
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.usage.batches import forget_batches
from tunesmith.platform.usage.stored import sample

from .days import today

log = structlog.get_logger(__name__)

SAMPLE_SECONDS = 3600.0


class StorageSampler:
    """Writes down what is stored at the start and every `seconds`, while it is entered.

    Several gateways that do so at once write the same. It also drops old ids of usage batches.
    """

    def __init__(self, database: Database, *, seconds: float = SAMPLE_SECONDS) -> None:
        self._database = database
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> StorageSampler:
        self._task = asyncio.create_task(self._keep_sampling(), name="sample storage")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_sampling(self) -> None:
        while True:
            try:
                await run_in_threadpool(self._sample)
            except (TunesmithError, SQLAlchemyError) as error:
                log.warning("storage not sampled; the next sample is in a while", error=str(error))
            await asyncio.sleep(self._seconds)

    def _sample(self) -> None:
        with self._database.transaction() as session:
            sample(session, today())
        with self._database.transaction() as session:
            forget_batches(session)
