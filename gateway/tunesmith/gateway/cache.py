"""Answers of the database that are good for a second, so that a request need not ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """Values that `load` gets in a thread, kept for `seconds`, at most `size` of them.

    Requests that miss the same key at once share one load. Failures are not kept. To be used
    from one event loop.
    """

    def __init__(self, load: Callable[[K], V], *, seconds: float, size: int = 10_000) -> None:
        self._load = load
        self._seconds = seconds
        self._size = size
        self._kept: dict[K, tuple[float, V]] = {}
        self._loading: dict[K, asyncio.Task[V]] = {}

    def known(self, key: K) -> V | None:
        """The value of `key` where it is known now."""
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] > monotonic() else None

    async def get(self, key: K) -> V:
        """The value of `key`; raises what `load` raises."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] > monotonic():
            return kept[1]
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._fill(key))
            task.add_done_callback(_seen)
        # One client that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    def forget(self, key: K) -> None:
        """Ask again next time, also when an answer is under way that may be of before."""
        self._kept.pop(key, None)
        self._loading.pop(key, None)

    def forget_where(self, matches: Callable[[V], bool]) -> None:
        """Ask again for every value that `matches`, and for all that are under way."""
        for key in [key for key, (_, value) in self._kept.items() if matches(value)]:
            del self._kept[key]
        self._loading.clear()

    async def _fill(self, key: K) -> V:
        expires = monotonic() + self._seconds  # from before the look, not after it
        try:
            value = await run_in_threadpool(self._load, key)
            if self._loading.get(key) is asyncio.current_task():
                self._kept.pop(key, None)
                self._kept[key] = (expires, value)
                while len(self._kept) > self._size:
                    del self._kept[next(iter(self._kept))]
            return value
        finally:
            if self._loading.get(key) is asyncio.current_task():
                del self._loading[key]


def _seen(task: asyncio.Task[V]) -> None:
    # Everyone who waited may have gone; their error is then nobody's.
    if not task.cancelled():
        task.exception()
