"""Counting what requests use, without a write to the database for each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.usage import NOTHING, Counts, UsageKey, add_usage

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
"""How long counts are in memory alone: what a gateway that is killed loses at most."""


class UsageLedger:
    """Adds up in memory, and writes the sums every `seconds` and at the end.

    To be used from one event loop. A write that fails keeps its counts for the next; one whose
    commit was done and whose answer was lost is the only thing that is counted twice.
    """

    def __init__(self, database: Database, *, seconds: float = FLUSH_SECONDS) -> None:
        self._database = database
        self._seconds = seconds
        self._counted: dict[UsageKey, Counts] = {}
        self._writing = asyncio.Lock()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def __aenter__(self) -> UsageLedger:
        self._task = asyncio.create_task(self._keep_writing(), name="write usage")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task
        if not await self.flush():
            lost = sum(counts.requests for counts in self._counted.values())
            log.error("usage lost: the gateway ends and the database does not", requests=lost)

    def record(  # noqa: PLR0917 - a row's columns, in their order
        self, tenant_id: str, key_id: str, model: str, alias: str, prompt: int, completion: int
    ) -> None:
        """Count a request that was answered.

        Args:
            model: the name of the model that answered, not the alias.
            alias: the name that was asked for, where that was an alias; else "".
            prompt, completion: tokens as the engine reported them; 0 where it did not.
        """
        day = datetime.now(UTC).date().isoformat()
        self._add(UsageKey(tenant_id, key_id, model, alias, day), Counts(1, prompt, completion))

    async def flush(self) -> bool:
        """Write what was counted; whether nothing is left to write."""
        async with self._writing:
            counted, self._counted = self._counted, {}
            if not counted:
                return True
            try:
                await run_in_threadpool(self._write, counted)
            except (TunesmithError, SQLAlchemyError) as error:
                for key, counts in counted.items():
                    self._add(key, counts)
                if not self._failing:  # once, not every second
                    log.warning("usage not written, and kept for the next try", error=str(error))
                self._failing = True
                return False
            if self._failing:
                log.info("usage is written again")
            self._failing = False
            return True

    def _add(self, key: UsageKey, counts: Counts) -> None:
        self._counted[key] = self._counted.get(key, NOTHING).plus(counts)

    def _write(self, counted: dict[UsageKey, Counts]) -> None:
        with self._database.transaction() as session:
            add_usage(session, counted)

    async def _keep_writing(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._seconds)
            await self.flush()
