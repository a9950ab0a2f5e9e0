"""Where budgets a minute are kept: in this process, or in the database."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from anyio import CapacityLimiter, to_thread

from tunesmith.platform.database import Database
from tunesmith.platform.limits import budgets
from tunesmith.platform.limits.bucket import Bucket, Grant, Wish, grant


class BudgetStore(Protocol):
    """Budgets by name, each a bucket that holds a limit and gains a sixtieth of it a second."""

    async def take(self, name: str, limit: float, wish: Wish) -> Grant:
        """Ask a budget; one that was never asked is full. Raises whatever its medium raises."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class MemoryStore:
    """Budgets in this process alone, by `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    async def take(self, name: str, limit: float, wish: Wish) -> Grant:
        """Ask a budget."""
        granted, self._buckets[name] = grant(self._buckets.get(name), self._clock(), limit, wish)
        return granted

    def begin(self, name: str, level: float) -> None:
        """Have a budget hold `level` now, whatever it held."""
        self._buckets[name] = Bucket(level, self._clock())

    def __contains__(self, name: str) -> bool:
        return name in self._buckets

    async def close(self) -> None:
        """Nothing to let go of."""


_THREADS = 8


class DatabaseStore:
    """Budgets in the database, asked in threads of its own: uploads are not in its way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads = CapacityLimiter(_THREADS)

    async def take(self, name: str, limit: float, wish: Wish) -> Grant:
        """Ask a budget.

        Raises:
            Unavailable: the database cannot be reached.
        """
        # Whoever stops waiting goes on at once; what is granted after all is then used by nobody.
        return await to_thread.run_sync(
            self._take, name, limit, wish, abandon_on_cancel=True, limiter=self._threads
        )

    def _take(self, name: str, limit: float, wish: Wish) -> Grant:
        with self._database.transaction() as session:
            return budgets.take(session, name, limit, wish)

    async def close(self) -> None:
        """The database is its owner's."""
