"""Which engine a request goes to.

Nothing here waits or does I/O, and the clock is given, so that a simulation runs the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from .adapter import Adapter
from .engine import Engine
from .hashing import nearness
from .traffic import Traffic

BOUND = 1.25
"""No engine above this times the mean of requests in engines, c of consistent hashing with bounded
loads (Mirrokni, Thorup and Zadimoghaddam 2016); HAProxy recommends 1.25 to 2 (hash-balance-factor).
"""
SLACK = 16
"""Requests above the mean that are never too many. They cost a batch less than the pull of an
adapter does, and with a dozen requests in an engine, chance alone exceeds 1.25 times the mean.
"""
TIE = 2
"""Engines whose requests differ by no more are equally busy; then the prompt's prefix decides."""


class Router:
    """Chooses among the engines of `traffic`.

    Attributes:
        crowded: engines that were chosen to pull an adapter, and may have to drop another one.

    Args:
        slots: distinct adapters in one batch of an engine (vLLM's --max-loras).
    """

    def __init__(self, traffic: Traffic, slots: int) -> None:
        self.crowded: set[Engine] = set()
        self._traffic = traffic
        self._slots = slots

    def choose(
        self,
        base: str,
        digest: str | None,
        *,
        affinity: int | None = None,
        exclude: Engine | None = None,
    ) -> Engine | None:
        """The engine for a request, which is about to be sent there; None: there is none."""
        fleet = self._traffic.fleet(base)
        if not fleet:
            return None
        now = self._traffic.clock()
        adapter = None
        if digest is None:
            chosen = _least_busy(_open(fleet, exclude, now), affinity)
        else:
            adapter = self._traffic.adapter(base, digest)
            chosen = self._home(adapter, fleet, affinity, exclude, now)
        if chosen is not None:
            self._traffic.sent(base, adapter, chosen, now)
        return chosen

    def _home(
        self,
        adapter: Adapter,
        fleet: Sequence[Engine],
        affinity: int | None,
        exclude: Engine | None,
        now: float,
    ) -> Engine | None:
        digest = adapter.digest
        order = self._traffic.order(adapter)
        if adapter.homes == 1:  # most are so: nothing to weigh
            home = order[0]
            if (
                digest in home.adapters
                and home.in_flight + home.others <= SLACK
                and home is not exclude
                and home.breaker.next_try <= now
            ):
                return home
        holders = [
            engine
            for engine in order[: adapter.homes]
            if digest in engine.adapters
            and engine is not exclude
            and engine.breaker.next_try <= now
        ]
        if not holders:
            order = _open(order, exclude, now)
            holders = [engine for engine in order if digest in engine.adapters]
        if not holders:
            for engine in order:
                if engine.has(digest):  # it is being pulled there
                    return engine
            return self._first_with_room(order, digest, _bound(fleet))
        chosen = _least_busy(self._with_slot(holders, digest), affinity)
        if chosen is not None and chosen.busy <= SLACK:
            return chosen
        bound = _bound(fleet)
        if chosen is None or chosen.busy <= bound:
            return chosen
        others = [e for e in _open(order, exclude, now) if digest not in e.adapters]
        return self._first_with_room(others, digest, bound, chosen)

    def _first_with_room(
        self, order: Sequence[Engine], digest: str, bound: float, otherwise: Engine | None = None
    ) -> Engine | None:
        """The first that is below the bound and has a slot, to pull the adapter.

        Where there is none: `otherwise`, or the least busy one.
        """
        for engine in order:
            if engine.busy < bound and self._has_slot(engine, digest):
                self.crowded.add(engine)
                return engine
        if otherwise is not None:
            return otherwise
        least_busy = _least_busy(order, None)
        if least_busy is not None:
            self.crowded.add(least_busy)
        return least_busy

    def _with_slot(self, engines: Sequence[Engine], digest: str) -> Sequence[Engine]:
        if len(engines) == 1:
            return engines
        return [engine for engine in engines if self._has_slot(engine, digest)] or engines

    def _has_slot(self, engine: Engine, digest: str) -> bool:
        return len(engine.running) < self._slots or digest in engine.running


def _open(engines: Iterable[Engine], exclude: Engine | None, now: float) -> Sequence[Engine]:
    return [e for e in engines if e is not exclude and e.breaker.next_try <= now]


def _least_busy(engines: Sequence[Engine], affinity: int | None) -> Engine | None:
    """The least busy; of those that are about equally so, the nearest to the prompt's prefix."""
    if len(engines) < 2:
        return engines[0] if engines else None
    busy = [engine.in_flight + engine.others for engine in engines]
    least = min(busy)
    if affinity is None:
        return engines[busy.index(least)]
    equal = [e for e, there in zip(engines, busy, strict=True) if there <= least + TIE]
    return max(equal, key=lambda engine: nearness(engine, affinity))


def _bound(fleet: Sequence[Engine]) -> float:
    mean = sum([engine.in_flight + engine.others for engine in fleet]) / len(fleet)
    return max(ceil(BOUND * (mean + 1 / len(fleet))), mean + SLACK)
