"""One batch under a lease, from where it stands to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool

from tunesmith.platform import files
from tunesmith.platform.batches import leases, progress, status
from tunesmith.platform.batches.segments import Answer, Results, Segments, is_completed
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.storage import Storage

from .asking import Ask, answer_line, refused
from .holding import Holding, Outcome, end_tasks
from .lines import BadLine, Errors, Line, check, read_lines
from .writing import AnswerWriter

FindModel = Callable[[str, str], Awaitable[object]]
"""Looks a tenant's model up; raises `NotFound` or `InvalidRequest` where it cannot answer."""

_LINES_AT_ONCE, _BYTES_AT_ONCE = 64, 4 * 1024 * 1024


@dataclass(frozen=True)
class Means:
    """What the work on batches takes. `slots` are the requests that may be at engines at once."""

    database: Database
    storage: Storage
    ask: Ask
    find_model: FindModel
    concurrency: int
    slots: asyncio.Semaphore


class Work:
    """The work on one batch."""

    def __init__(self, means: Means, holding: Holding) -> None:
        self._means = means
        self._holding = holding
        self._batch = holding.batch
        self._lease = holding.lease
        self._segments = Segments(means.storage, self._batch.id, self._lease.token)

    async def run(self) -> None:
        """Bring the batch to its end.

        Raises:
            LeaseLost: it is somebody else's by now.
            TunesmithError: it cannot go on now; whoever takes it up next goes on from here.
        """
        keeper = asyncio.create_task(self._holding.keep())
        going = asyncio.create_task(self._go(keeper))
        try:
            await asyncio.wait({keeper, going}, return_when=asyncio.FIRST_COMPLETED)
            if not going.done() and not keeper.cancelled():
                await keeper  # which says why it could not go on
            await going
        finally:
            await end_tasks(keeper, going)

    async def _go(self, keeper: asyncio.Task[None]) -> None:
        if self._batch.status not in status.ENDED:
            if self._batch.status == status.FINALIZING:
                outcome = Outcome(status.COMPLETED)
            else:
                await self._holding.look()
                outcome = await self._holding.unless_ending(self._answer())
            await run_in_threadpool(self._finish, outcome)
        await run_in_threadpool(self._clear)
        keeper.cancel()  # it would miss the lease
        await run_in_threadpool(self._let_go)

    async def _answer(self) -> Outcome:
        if self._batch.status == status.VALIDATING:
            errors = await self._validate()
            if errors:
                return Outcome(status.FAILED, errors)
        await self._answer_all()
        with_all = await run_in_threadpool(self._answered)
        return Outcome(status.CANCELLED if with_all == status.CANCELLING else status.COMPLETED)

    async def _validate(self) -> list[dict[str, object]]:
        def read() -> tuple[int, dict[str, int], Errors]:
            with self._open() as stream:
                found = check(stream, self._batch.endpoint)
            return found.total, found.models, found.errors

        total, models, errors = await run_in_threadpool(read)
        for name, line in models.items():
            try:
                await self._means.find_model(self._batch.tenant_id, name)
            except (NotFound, InvalidRequest) as error:
                errors.add(
                    BadLine(
                        error.message,
                        code=error.code or "model_not_found",
                        line=line,
                        param="body.model",
                    )
                )
        if not errors.count:

            def write() -> None:
                with self._means.database.transaction() as session:
                    progress.validated(session, self._lease, total)

            await run_in_threadpool(write)
        return errors.shown()

    async def _answer_all(self) -> None:
        done = await run_in_threadpool(self._done)
        outstanding = asyncio.Semaphore(self._means.concurrency)  # those in pauses, too
        async with (
            AnswerWriter(self._segments) as writer,
            asyncio.TaskGroup() as group,
            aclosing(self._unanswered(done)) as lines,
        ):
            async for line in lines:
                await outstanding.acquire()
                group.create_task(self._answer_one(line, outstanding, writer))

    async def _answer_one(
        self, line: Line, outstanding: asyncio.Semaphore, writer: AnswerWriter
    ) -> None:
        try:
            answer = await answer_line(
                self._means.ask,
                line,
                self._means.slots,
                tenant_id=self._batch.tenant_id,
                key_id=self._batch.key_id,
                path=self._batch.endpoint,
            )
        finally:
            outstanding.release()
        writer.add(answer)
        self._count(answer)

    def _count(self, answer: Answer) -> None:
        if is_completed(answer):
            self._holding.completed += 1
        else:
            self._holding.failed += 1

    def _done(self) -> set[str]:
        """What holders before have answered."""
        self._holding.completed = self._holding.failed = 0
        done = set()
        for answer in self._segments.read():
            done.add(answer["custom_id"])
            self._count(answer)
        return done

    async def _unanswered(self, done: set[str]) -> AsyncGenerator[Line, None]:
        with await run_in_threadpool(self._open) as stream:
            lines = read_lines(stream, self._batch.endpoint)
            while some := await run_in_threadpool(_take, lines):
                for line in some:
                    if isinstance(line, Line) and line.custom_id not in done:
                        yield line

    def _open(self) -> BinaryIO:
        with self._means.database.reading() as session:
            file = files.get_file(session, self._batch.tenant_id, self._batch.input_file)
        return self._means.storage.open_read(file.storage_key)

    def _answered(self) -> str:
        with self._means.database.transaction() as session:
            return progress.answered(session, self._lease)

    def _finish(self, outcome: Outcome) -> None:
        if outcome.status == status.EXPIRED:
            with self._open() as stream:
                results = self._segments.put_together(self._expired(stream))
        else:
            results = self._segments.put_together()
        self._end(outcome, results)

    def _end(self, outcome: Outcome, results: Results) -> None:
        with self._means.database.transaction() as session:
            progress.end(session, self._lease, outcome.status, results, outcome.errors)

    def _expired(self, stream: BinaryIO) -> Iterator[Answer]:
        for line in read_lines(stream, self._batch.endpoint):
            if isinstance(line, Line):
                yield refused(
                    line.custom_id,
                    "batch_expired",
                    "This request could not be executed before the completion window expired.",
                )

    def _clear(self) -> None:
        with self._means.database.reading() as session:
            kept = progress.kept_keys(session, self._batch.id)
        self._segments.clear(kept)

    def _let_go(self) -> None:
        with self._means.database.transaction() as session:
            leases.let_go(session, self._lease)


def _take(lines: Iterator[Line | BadLine]) -> list[Line | BadLine]:
    """The next lines, as many as are well held in memory; none at the end."""
    taken: list[Line | BadLine] = []
    size = 0
    for line in lines:
        taken.append(line)
        size += line.size if isinstance(line, Line) else 0
        if len(taken) >= _LINES_AT_ONCE or size >= _BYTES_AT_ONCE:
            break
    return taken
