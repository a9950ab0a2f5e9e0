"""Answers of the database that are good for a second, so that a request need not ask for them.

While the database is away they are good for longer: who was served a moment ago still is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from tunesmith.platform.domain.errors import Unavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

STALE_SECONDS = 300.0
"""How long an answer is still given while the database is away: as long as gateways go on with
their limits. Longer, and a key that was revoked elsewhere just before would be good for too long.
"""

PATIENCE_SECONDS = 2.0
"""How long a request that could have a stale answer waits for a new one."""

_RETRY_SECONDS = 1.0


class TtlCache(Generic[K, V]):
    """Values that `load` gets in a thread, kept for `seconds`, at most `size` of them.

    Requests that miss the same key at once share one load. Failures are not kept. While `load`
    raises `Unavailable`, or does not end, a value is given for `stale_seconds` longer. To be used
    from one event loop.
    """

    def __init__(
        self,
        load: Callable[[K], V],
        *,
        seconds: float,
        size: int = 10_000,
        stale_seconds: float = STALE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._load = load
        self._seconds = seconds
        self._size = size
        self._stale_seconds = stale_seconds
        self._patience_seconds = patience_seconds
        self._away = False
        self._try_at = 0.0
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
        if kept is None or kept[0] + self._stale_seconds <= monotonic():
            # One client that goes away must not take the answer from the others.
            return await asyncio.shield(self._ask(key))
        if not self._away or monotonic() >= self._try_at:
            self._try_at = monotonic() + _RETRY_SECONDS  # one asks, the others do not wait
            task = self._ask(key)
            answered, _ = await asyncio.wait([task], timeout=self._patience_seconds)
            self._away = not answered or isinstance(task.exception(), Unavailable)
            if not self._away:
                return task.result()
        # It may have been forgotten meanwhile.
        still = self._kept.get(key)
        return still[1] if still is not None else await asyncio.shield(self._ask(key))

    def forget(self, key: K) -> None:
        """Ask again next time, also when an answer is under way that may be of before."""
        self._kept.pop(key, None)
        self._loading.pop(key, None)

    def forget_where(self, matches: Callable[[V], bool]) -> None:
        """Ask again for every value that `matches`, and for all that are under way."""
        for key in [key for key, (_, value) in self._kept.items() if matches(value)]:
            del self._kept[key]
        self._loading.clear()

    def _ask(self, key: K) -> asyncio.Task[V]:
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._fill(key))
            task.add_done_callback(_seen)
        return task

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
        except Unavailable:
            raise
        except Exception:
            self._kept.pop(key, None)  # it is no more: that was the answer
            raise
        finally:
            if self._loading.get(key) is asyncio.current_task():
                del self._loading[key]


def _seen(task: asyncio.Task[V]) -> None:
    # Everyone who waited may have gone; their error is then nobody's.
    if not task.cancelled():
        task.exception()
