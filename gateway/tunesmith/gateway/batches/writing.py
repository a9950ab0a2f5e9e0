"""Answers on their way to storage, some at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from tunesmith.platform.batches.segments import Answer, Segments

FULL = 256
"""Answers of one segment, at most about."""

_FIRST_PATIENCE, _LONGEST_PATIENCE = 1.0, 60.0


class AnswerWriter:
    """Writes answers into segments while it is entered, and what is left at its end.

    An answer is safe within a second at first; within a minute in a batch of many segments, so
    that a slow day does not leave tens of thousands of them.
    """

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._pending: list[Answer] = []
        self._any = asyncio.Event()
        self._full = asyncio.Event()
        self._stop = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AnswerWriter:
        self._task = asyncio.create_task(self._keep_writing(), name="write a batch's answers")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left.

        Never by cancelling the task: a write that goes on in its thread must have ended before
        the segments are read.

        Raises:
            StorageUnavailable, StorageFull: some answers are lost, and have to be asked again.
        """
        self._stop = True
        self._any.set()
        self._full.set()
        if self._task is not None:
            await self._task

    def add(self, answer: Answer) -> None:
        """An answer has come.

        Raises:
            StorageUnavailable, StorageFull: earlier ones could not be written.
        """
        if self._task is not None and self._task.done():
            self._task.result()
        self._pending.append(answer)
        self._any.set()
        if len(self._pending) >= FULL:
            self._full.set()

    async def _keep_writing(self) -> None:
        while not self._stop or self._pending:
            await self._any.wait()
            patience = min(_LONGEST_PATIENCE, _FIRST_PATIENCE + self._segments.written / 20)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), patience)
            answers, self._pending = self._pending, []
            if not self._stop:
                self._any.clear()
                self._full.clear()
            if answers:
                await run_in_threadpool(self._segments.write, answers)
