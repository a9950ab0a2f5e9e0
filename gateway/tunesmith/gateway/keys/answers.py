"""Who a key belongs to, or that it opens nothing: both answers are kept for a second."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

from anyio import CapacityLimiter

from tunesmith.gateway.cache import TtlCache
from tunesmith.platform.domain.errors import NotAuthenticated, NotPermitted, Unavailable
from tunesmith.platform.tenants import Caller

K = TypeVar("K", bound=Hashable)

STRANGERS_AT_ONCE = 4
"""Questions to the database for keys that were not seen to be good: a flood of invented keys holds
no more threads and connections than this, and those of known callers stay free."""

STRANGERS_WAITING = 256
"""How many such questions may wait; one more is answered 503."""


class Answers(Generic[K]):
    """Callers by key or token, as `look_up` finds them in a thread. For one event loop.

    Args:
        seconds: how long an answer is believed.
        size: how many good answers are kept, how many bad ones, and how many known keys.
    """

    def __init__(
        self, look_up: Callable[[K], Caller], *, seconds: float, size: int = 10_000
    ) -> None:
        self._callers: TtlCache[K, Caller] = TtlCache(look_up, seconds=seconds, size=size)
        self._refused: dict[K, tuple[float, type[NotAuthenticated | NotPermitted], str, str]] = {}
        self._known: dict[K, None] = {}
        self._seconds = seconds
        self._size = size
        self._strangers = CapacityLimiter(STRANGERS_AT_ONCE)

    def known(self, key: K) -> Caller | None:
        """Who it is, where that is known now."""
        return self._callers.known(key)

    async def get(self, key: K) -> Caller:
        """Who it is.

        Raises:
            NotAuthenticated, NotPermitted: what `look_up` says.
            Unavailable: too many keys that nobody knows are being looked up.
        """
        refused = self._refused.get(key)
        if refused is not None:
            until, kind, message, code = refused
            if until > monotonic():
                raise kind(message, code=code)
            del self._refused[key]
        if key in self._known:
            return await self._ask(key)
        if self._strangers.statistics().tasks_waiting >= STRANGERS_WAITING:
            raise Unavailable("Too many unknown keys are being tried.", retry_after=1)
        async with self._strangers:
            return await self._ask(key)

    async def _ask(self, key: K) -> Caller:
        asked = monotonic()
        try:
            caller = await self._callers.get(key)
        except (NotAuthenticated, NotPermitted) as error:
            self._known.pop(key, None)
            # Its parts, not the error itself: one that is raised twice keeps both ways.
            kept = (asked + self._seconds, type(error), error.message, error.code or "")
            _keep(self._refused, key, kept, self._size)
            raise
        if key not in self._known:
            _keep(self._known, key, None, self._size)
        return caller

    def forget_where(self, matches: Callable[[Caller], bool]) -> None:
        """Ask again for every caller that `matches`, and for every key that was refused."""
        self._callers.forget_where(matches)
        self._refused.clear()


V = TypeVar("V")


def _keep(kept: dict[K, V], key: K, value: V, size: int) -> None:
    """Keep a value as the newest, and at most `size` of them."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > size:
        del kept[next(iter(kept))]
