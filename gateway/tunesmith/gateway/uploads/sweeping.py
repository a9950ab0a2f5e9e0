"""Sweeping expired uploads, in every gateway."""

from __future__ import annotations

import asyncio
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.storage import Storage
from tunesmith.platform.uploads.sweeping import sweep

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 300.0


class UploadSweeper:
    """Deletes the parts of uploads whose time is over, every `seconds`, while it is entered."""

    def __init__(
        self, database: Database, storage: Storage, *, seconds: float = SWEEP_SECONDS
    ) -> None:
        self._database = database
        self._storage = storage
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> UploadSweeper:
        self._task = asyncio.create_task(self._keep_sweeping(), name="sweep uploads")
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

    async def _keep_sweeping(self) -> None:
        while True:
            try:
                swept = await run_in_threadpool(sweep, self._database, self._storage)
                if swept:
                    log.info("uploads swept", uploads=swept)
            except (TunesmithError, SQLAlchemyError) as error:
                log.warning("uploads not swept; the next sweep goes on", error=str(error))
            await asyncio.sleep(self._seconds)
