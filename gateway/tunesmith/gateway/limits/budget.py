"""A gateway's lease on one budget: most requests only take from it, a number in this process.

See docs/limits.md for what the lease costs in exactness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import floor

from tunesmith.platform.domain.errors import Unavailable
from tunesmith.platform.limits.bucket import MINUTE, Wish

from .store import BudgetStore

SHARE = 0.01
"""Part of a limit that a gateway leases at a time: four gateways that hold one each are 4 %."""

_MOST = 0.05
"""Part that it leases while it is used up within `_FAST_SECONDS` and half of the limit is left."""

_FAST_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 0.25
"""A store that had nothing is left alone for so long: under a flood, four questions a second."""

_BELIEVED_SECONDS = 1.0
"""How long the store's last answer is a reason to refuse: others may have given back since."""

_AHEAD = 4
"""A lease is renewed before it is empty where it is worth so many requests; else each request asks,
which at such a limit is a few times a second, and nothing is held that nobody uses."""


class Budget:
    """A lease on the budget `name` of `limit` a minute; for one event loop."""

    def __init__(
        self, store: BudgetStore, name: str, limit: int, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.taken = 0
        """Requests that took from it until now."""
        self._store = store
        self._clock = clock
        self._left = 0.0
        self._low = 0.0
        self._mean = 1.0
        self._demand = 0
        self._level = float(limit)
        self.set_limit(limit)
        self._asking: asyncio.Task[Unavailable | None] | None = None

    def try_take(self, amount: int) -> bool:
        """Take from the lease, if it has so much."""
        left = self._left - amount
        if left < 0:
            return False
        self._left = left
        self.taken += 1
        self._mean += (amount - self._mean) / 16
        if left < self._low and self._asking is None and not self._is_hopeless(1 + left):
            self._ask(0)
        return True

    async def take(self, amount: int) -> bool:
        """Take from the lease, or have it renewed first; False when the budget has not so much.

        Raises:
            Unavailable: the store has been away for too long.
        """
        while not self.try_take(amount):
            if self._is_hopeless(amount):
                return False
            self._demand += amount
            try:
                # Shielded: a client that goes must not lose what the store grants.
                error = await asyncio.shield(self._asking or self._ask(amount))
            finally:
                self._demand -= amount
            if error is not None:
                raise error
        return True

    def put(self, amount: float) -> None:
        """Put back what was taken too much; a negative amount is a debt."""
        self._left += amount

    def set_limit(self, limit: int) -> None:
        """Have another limit from now on; the store cuts or fills its bucket as it is asked."""
        self.limit = limit
        self._rate = limit / MINUTE
        self._share = self._least = max(1, floor(limit * SHARE))
        self._answered_at = float("-inf")

    @property
    def balance(self) -> float:
        """What is left now, below zero a debt: at the store, as far as known here, and leased."""
        age = min(self._clock() - self._answered_at, MINUTE)
        return min(self.limit, self._level + self._rate * age + self._left)

    def seconds_until(self, amount: float) -> float:
        """Seconds until so much is left, if nobody takes anything meanwhile."""
        return max(0.0, (amount - self.balance) / self._rate)

    async def give_back(self, keep: float = 0.0) -> None:
        """Give the store what the lease has above `keep`, or the debt that it is."""
        if self._asking is not None or 0 <= self._left <= keep:
            return
        returned = self._left - keep if self._left > 0 else self._left
        self._left -= returned
        try:
            await self._take(Wish(0, 0, returned))
        except Unavailable:
            self._left += returned

    async def tidy(self) -> None:
        """Give back what a lease of the usual size would not hold."""
        await self.give_back(2.0 * self._least)

    def _is_hopeless(self, amount: float) -> bool:
        """Whether the store's last answer says that it has not so much beside the lease."""
        age = self._clock() - self._answered_at
        if age > _BELIEVED_SECONDS:
            return False
        gained = self._rate * age if age >= _ASK_AGAIN_SECONDS else 0.0
        return self._level + gained + self._left < amount

    def _ask(self, amount: int) -> asyncio.Task[Unavailable | None]:
        self._asking = asyncio.create_task(self._renew(amount), name=f"renew {self.name}")
        return self._asking

    async def _renew(self, amount: int) -> Unavailable | None:
        """Have the lease renewed; for a request that waits, by at least what it needs."""
        self._resize()
        debt = min(self._left, 0.0)
        self._left -= debt
        needed = max(0, -floor(self._left - amount)) if amount else 0
        wanted = max(self._share, needed, self._demand - floor(self._left))
        try:
            granted = await self._take(Wish(wanted, needed, debt))
        except Unavailable as error:
            self._left += debt
            return error
        finally:
            self._asking = None
        self._left += granted  # what it was before the wait may have been taken meanwhile
        return None

    async def _take(self, wish: Wish) -> int:
        granted = await self._store.take(self.name, self.limit, wish)
        self._level = granted.level
        self._answered_at = self._clock()
        return granted.granted

    def _resize(self) -> None:
        fast = self._clock() - self._answered_at < _FAST_SECONDS
        most = max(self._least, floor(self.limit * _MOST))
        roomy = fast and self._level > self.limit / 2
        self._share = min(2 * self._share, most) if roomy else self._least
        self._low = self._share / 2 if self._share >= _AHEAD * self._mean else 0.0
