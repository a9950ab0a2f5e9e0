"""Counting what requests use, without a write to the database for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count, islice
from types import TracebackType
from typing import NamedTuple

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import InvalidRequest, TunesmithError
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.usage import Counts, UsageKey
from tunesmith.platform.usage.batches import add_batch, void_batch

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
"""How long counts are in memory alone: what a gateway that is killed loses at most."""

CLOSING_SECONDS = 5.0
"""How long the end of a gateway waits for a database that is away."""

_DAY_SECONDS = 86_400
_Row = tuple[str, str, str, str, str]  # a `UsageKey`, which would take longer to make


class _Batch(NamedTuple):
    id: str
    counts: dict[UsageKey, Counts]
    since: float
    """When the first of it was counted, by the monotonic clock."""


class UsageLedger:
    """Adds up in memory, and writes the sums every `seconds` and at the end.

    To be used from one event loop. What is written is a batch with an id. A batch of which it is
    not known whether it was written, as the answer was lost, is written again under its id before
    any other, and is added once. Meanwhile new counts add up for the batch after it; so memory is
    bounded by the number of keys and models in use, however long the database is away.

    Attributes:
        failures: tries to write that failed.
        written: given what was written, each time.
    """

    def __init__(
        self,
        database: Database,
        *,
        seconds: float = FLUSH_SECONDS,
        closing_seconds: float = CLOSING_SECONDS,
    ) -> None:
        self._database = database
        self._seconds = seconds
        self._closing_seconds = closing_seconds
        self._counted: dict[_Row, list[int]] = {}
        self._pending: list[_Batch] = []
        self._ids = (f"{ledger}-{number}" for ledger in (random_text(),) for number in count())
        self._day = ""
        self._day_begins = self._day_ends = 0.0
        self._writing = asyncio.Lock()
        # A thread of its own: requests may hold all the others.
        self._thread = CapacityLimiter(1)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._since = 0.0
        self.failures = 0
        self.written: Callable[[Mapping[UsageKey, Counts]], None] | None = None

    @property
    def lag_seconds(self) -> float:
        """How long ago the oldest usage was counted that is not written yet."""
        since = [batch.since for batch in self._pending]
        if self._counted:
            since.append(self._since)
        return max(0.0, time.monotonic() - min(since)) if since else 0.0

    @property
    def unwritten_rows(self) -> int:
        """Rows, each of a key and a model on a day, that are in memory alone."""
        return len(self._counted) + sum(len(batch.counts) for batch in self._pending)

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
        deadline = time.monotonic() + self._closing_seconds
        while not await self.flush():
            if time.monotonic() > deadline:
                lost = sum(row[0] for row in self._counted.values()) + sum(
                    counts.requests for batch in self._pending for counts in batch.counts.values()
                )
                log.error("usage lost: the gateway ends and it cannot be written", requests=lost)
                return
            await asyncio.sleep(min(self._seconds, 0.5))

    def record(  # noqa: PLR0917 - a row's columns, in their order
        self,
        tenant_id: str,
        key_id: str,
        model: str,
        alias: str,
        prompt: int,
        completion: int,
        cached: int = 0,
    ) -> None:
        """Count a request that was answered.

        Args:
            model: the name of the model that answered, not the alias.
            alias: the name that was asked for, where that was an alias; else "".
            prompt, completion: tokens as the engine reported them; 0 where it did not.
            cached: those of the prompt that the engine had computed before.
        """
        if not self._day_begins <= time.time() < self._day_ends:
            self._turn_day()
        row = (tenant_id, key_id, model, alias, self._day)
        counts = self._counted.get(row)
        if counts is None:
            if not self._counted:
                self._since = time.monotonic()
            counts = self._counted[row] = [0, 0, 0, 0]
        counts[0] += 1
        counts[1] += prompt
        counts[2] += completion
        counts[3] += cached

    async def flush(self) -> bool:
        """Write what was counted; whether nothing is left to write."""
        async with self._writing:
            # What is pending goes first and alone: a batch's content never changes.
            await self._write_pending()
            if self._pending:
                return False
            if self._counted:
                counted, self._counted = self._counted, {}
                batch = {UsageKey(*row): Counts(*counts) for row, counts in counted.items()}
                self._pending.append(_Batch(next(self._ids), batch, self._since))
                if not await self._write_pending():
                    return False
            if self._failing:
                log.info("usage is written again")
            self._failing = False
            return True

    async def _write_pending(self) -> bool:
        refused = False
        while self._pending:
            batch = self._pending[0]
            try:
                if await self._is_written(batch):
                    self._pending.pop(0)
                    if self.written is not None:
                        self.written(batch.counts)
                    continue
                voided = await self._in_thread(void_batch, batch.id)
            except (TunesmithError, SQLAlchemyError) as error:
                self._warn(error)
                return False
            self._pending.pop(0)
            if voided:
                refused = refused or len(batch.counts) == 1
                self._split(batch)
        return not refused

    async def _is_written(self, batch: _Batch) -> bool:
        """Write a batch; False where the database refuses what is in it."""
        try:
            return await self._in_thread(add_batch, batch.id, batch.counts)
        except (IntegrityError, InvalidRequest, OverflowError) as error:
            self._warn(error)
            return False

    def _split(self, batch: _Batch) -> None:
        """Make two of a batch that was refused, so that only what is wrong waits for its time."""
        if len(batch.counts) == 1:
            self._since = min(self._since, batch.since) if self._counted else batch.since
            for key, counts in batch.counts.items():
                kept = self._counted.setdefault(key, [0, 0, 0, 0])
                for place, number in enumerate(counts):
                    kept[place] += number
            return
        items, half = iter(batch.counts.items()), len(batch.counts) // 2
        halves = dict(islice(items, half)), dict(items)
        self._pending[:0] = [_Batch(next(self._ids), counts, batch.since) for counts in halves]

    async def _in_thread(self, work: Callable[..., bool], *args: object) -> bool:
        def run() -> bool:
            with self._database.transaction() as session:
                return work(session, *args)

        return await to_thread.run_sync(run, limiter=self._thread)

    def _warn(self, error: Exception) -> None:
        self.failures += 1
        if not self._failing:  # once, not every second
            reason = str(error).split("\n", 1)[0]
            log.warning("usage not written, and kept for the next try", error=reason)
        self._failing = True

    def _turn_day(self) -> None:
        now = time.time()
        self._day_begins = now // _DAY_SECONDS * _DAY_SECONDS  # UTC's days all have 86,400 s
        self._day_ends = self._day_begins + _DAY_SECONDS
        self._day = datetime.fromtimestamp(self._day_begins, UTC).date().isoformat()

    async def _keep_writing(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._seconds)
            await self.flush()
