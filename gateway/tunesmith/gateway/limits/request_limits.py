"""Lets requests in, or says when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from types import TracebackType

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.limits.gateways import ALONE, Place

from .admission import Admission, Gate, Running
from .budget import Budget
from .in_force import CallerLimits
from .store import BudgetStore

IDLE_SECONDS = 2.0
"""A budget that no request took from for so long gives its lease back."""

FORGET_SECONDS = 60.0
_TIDY_SECONDS = 1.0
_END_SECONDS = 2.0
_AT_A_TIME = 8


class RequestLimits:
    """The limits of all callers on this gateway; for one event loop, to be entered in it.

    Args:
        place: this gateway's place among those that live, for requests at once.
    """

    def __init__(
        self,
        store: BudgetStore,
        place: Callable[[], Place] = lambda: ALONE,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._place = place
        self._clock = clock
        self._gates: dict[tuple[str, str], Gate] = {}
        self._budgets: dict[str, Budget] = {}
        self._running: dict[str, Running] = {}
        self._forget_at = clock() + FORGET_SECONDS
        self._seen: dict[str, tuple[int, float]] = {}
        self._tidying = Recurring(self.tidy, seconds=_TIDY_SECONDS, name="give leases back")

    async def __aenter__(self) -> RequestLimits:
        await self._tidying.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._tidying.__aexit__(kind, error, trace)
        with suppress(TimeoutError):
            leases = [budget.give_back for budget in self._budgets.values()]
            await asyncio.wait_for(_some_at_a_time(leases), _END_SECONDS)

    def admit_now(self, caller: CallerLimits | None, tokens: int) -> Admission | None:
        """Let a request in if this gateway's leases suffice; None: ask with `admit`.

        Args:
            caller: None where nothing is limited.
            tokens: estimate of the request's tokens, its answer included.

        Raises:
            RateLimited: as many requests as may are being worked on.
        """
        if caller is None:
            return Admission(None, 0)
        gate = self._gate(caller)
        gate.enter(self._place())
        if gate.take_now(tokens):
            return Admission(gate, tokens)
        gate.leave()
        return None

    async def admit(self, caller: CallerLimits | None, tokens: int) -> Admission:
        """Let a request in, asking the other gateways' store where a lease is used up.

        Raises:
            RateLimited: a limit is reached.
            Unavailable: the store of limits has been away for too long.
        """
        admitted = self.admit_now(caller, tokens)
        if admitted is not None or caller is None:
            return admitted or Admission(None, 0)
        gate = self._gate(caller)
        gate.enter(self._place())
        try:
            await gate.take(tokens)
        except BaseException:  # refused, or cancelled: the client has gone
            gate.leave()
            raise
        return Admission(gate, tokens)

    @property
    def known(self) -> int:
        """Callers whose budgets and counts are remembered."""
        return len(self._gates)

    def _gate(self, caller: CallerLimits) -> Gate:
        gate = self._gates.get((caller.tenant_id, caller.key_id))
        if gate is None or (gate.limits is not caller and gate.limits != caller):
            gate = Gate(caller, self._budget, self._count)
            self._gates[caller.tenant_id, caller.key_id] = gate
        return gate

    def _budget(self, name: str, limit: int) -> Budget:
        budget = self._budgets.get(name)
        if budget is None:
            budget = self._budgets[name] = Budget(self._store, name, limit, self._clock)
        elif budget.limit != limit:
            budget.set_limit(limit)
        return budget

    def _count(self, name: str, limit: int) -> Running:
        count = self._running.setdefault(name, Running(name, limit))
        count.limit = limit
        return count

    async def tidy(self) -> None:
        """Give back what no request took from of late, and forget callers that are gone."""
        moment = self._clock()
        idle: list[Budget] = []
        surplus: list[Budget] = []
        for budget in self._budgets.values():
            taken, since = self._seen.get(budget.name, (-1, moment))
            if taken != budget.taken:
                self._seen[budget.name] = budget.taken, moment
                surplus.append(budget)
            elif moment - since >= IDLE_SECONDS:
                idle.append(budget)
        # One after another: threads that write at once take the interpreter from requests, whose
        # p99 was 70 ms, not 28, while 200 tenants a second came and went.
        for budget in idle:
            await budget.give_back()
        for budget in surplus:
            await budget.tidy()
        gone = {budget.name for budget in idle if self._is_gone(budget, moment)}
        if gone or moment >= self._forget_at:
            self._forget(gone)
            self._forget_at = moment + FORGET_SECONDS

    def _is_gone(self, budget: Budget, moment: float) -> bool:
        taken, since = self._seen[budget.name]
        return taken == budget.taken and moment - since >= FORGET_SECONDS

    def _forget(self, gone: set[str]) -> None:
        """Forget callers none of whose budgets is in use, and what only they have."""
        self._gates = {
            key: gate
            for key, gate in self._gates.items()
            if gate.open or not gone.issuperset(b.name for b in gate.requests + gate.tokens)
        }
        budgets = {b.name for gate in self._gates.values() for b in gate.requests + gate.tokens}
        for name in gone - budgets:
            del self._budgets[name], self._seen[name]
        counts = {count.name for gate in self._gates.values() for count in gate.running}
        self._running = {name: c for name, c in self._running.items() if name in counts or c.now}


async def _some_at_a_time(work: Sequence[Callable[[], Awaitable[None]]]) -> None:
    for start in range(0, len(work), _AT_A_TIME):
        await asyncio.gather(*(begin() for begin in work[start : start + _AT_A_TIME]))
