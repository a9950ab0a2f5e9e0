"""Budgets while their store is away: each gateway goes on with its own share of every limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from tunesmith.platform.domain.errors import TunesmithError, Unavailable
from tunesmith.platform.limits.bucket import Grant, Wish

from .store import BudgetStore, MemoryStore

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 1.0
"""Longest wait for the store's answer: a request may be waiting for it."""

OPEN_SECONDS = 300.0
"""How long gateways go on without the store. Longer, and gateways that came or went since would
make the shares wrong; shorter, and a restart of the store would refuse requests."""

_RETRY_SECONDS = 1.0
_MOST_REMEMBERED = 100_000
_AWAY = (RedisError, SQLAlchemyError, TunesmithError, OSError, TimeoutError)


class FailOpenStore:
    """`store`, and in its place while it is away this gateway's share of what it last had.

    Args:
        share: this gateway's part of every limit, as last known: 0.25 with four gateways.

    Attributes:
        errors: times that the store did not answer.
    """

    def __init__(
        self,
        store: BudgetStore,
        share: Callable[[], float],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._share = share
        self._clock = clock
        self._levels: dict[str, float] = {}
        self._alone = MemoryStore(clock)
        self._since: float | None = None
        self._try_at = 0.0
        self.errors = 0

    @property
    def is_away(self) -> bool:
        """Whether this gateway goes on without the store."""
        return self._since is not None

    async def take(self, name: str, limit: float, wish: Wish) -> Grant:
        """Ask a budget.

        Raises:
            Unavailable: the store has been away for too long.
        """
        if self._since is not None:
            if self._clock() < self._try_at:
                return await self._take_alone(name, limit, wish)
            self._try_at = self._clock() + _RETRY_SECONDS  # one asks, the others do not wait
        try:
            granted = await asyncio.wait_for(self._store.take(name, limit, wish), ANSWER_SECONDS)
        except _AWAY as error:
            self._went(error)
            return await self._take_alone(name, limit, wish)
        if self._since is not None:
            log.info("limits are shared between gateways again")
            self._since = None
        if len(self._levels) >= _MOST_REMEMBERED:
            self._levels.clear()
        self._levels[name] = granted.level
        return granted

    def _went(self, error: Exception) -> None:
        self.errors += 1
        if self._since is None:
            self._since = self._clock()
            self._alone = MemoryStore(self._clock)
            log.warning(
                "the store of limits is away: this gateway goes on with its share of each limit",
                share=self._share(),
                seconds=OPEN_SECONDS,
                why=repr(error),
            )
        self._try_at = self._clock() + _RETRY_SECONDS

    async def _take_alone(self, name: str, limit: float, wish: Wish) -> Grant:
        assert self._since is not None
        if self._clock() > self._since + OPEN_SECONDS:
            raise Unavailable(
                "The store of limits is away, so this request cannot be counted. The administrator"
                " finds the reason in the gateway's log.",
                code="limits_unavailable",
            )
        # A single request may need more than a share.
        part = max(1.0, limit * self._share(), wish.needed)
        if name not in self._alone and name in self._levels:
            self._alone.begin(name, max(0.0, self._levels[name]) * self._share())
        return await self._alone.take(name, part, wish)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()
