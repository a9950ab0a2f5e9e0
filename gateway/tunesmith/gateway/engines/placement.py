"""Which adapters engines should hold: homes warmed before requests come, room made for new ones.

Nothing here waits or does I/O: what is to be done is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nsmallest

from .adapter import LEAST_RATE, SHARE, WORTH_SPREADING, Adapter
from .engine import Engine
from .traffic import Traffic

UNEVEN = 1.15
"""An engine with this times the mean of requests a second gives some of an adapter's to another:
below the bound of single moments, so that the bound is rarely what evens out."""
SPREAD_EVERY = 30.0
"""Seconds between two such steps: what one brings shows in the rates only then."""


@dataclass(frozen=True)
class Pull:
    """An adapter that an engine should pull before requests for it go there."""

    engine: Engine
    base: str
    digest: str


@dataclass(frozen=True)
class Drop:
    """An adapter that an engine should drop."""

    engine: Engine
    digest: str


class Placement:
    """Plans for the engines of `traffic`.

    Args:
        holds: adapters in an engine's memory (vLLM's --max-cpu-loras).
    """

    def __init__(self, traffic: Traffic, holds: int) -> None:
        self._traffic = traffic
        self._holds = holds
        self._many: set[Adapter] = set()
        self._evened: dict[str, float] = {}

    def lost(self, engine: Engine) -> list[Pull]:
        """What an engine that came up should hold again: whose home it is, the most used first."""
        now = self._traffic.clock()
        most = self._holds * max(1, len(self._traffic.engines))
        mine = [
            adapter
            for adapter in self._traffic.last_asked(most)
            if adapter.base in engine.bases and engine in self._traffic.homes(adapter)
        ]
        mine.sort(key=lambda adapter: adapter.worth(now), reverse=True)
        return [Pull(engine, a.base, a.digest) for a in mine[: self._holds]]

    def plan(self) -> list[Pull]:
        """Give adapters as many homes as they are worth, and say what is to be pulled for that.

        To be called about once a second.
        """
        now = self._traffic.clock()
        asked = self._traffic.count()
        for base in self._traffic.bases:
            self._even_out(base, now)
        pulls: list[Pull] = []
        reviewed = asked | self._many
        self._many.clear()
        for adapter in reviewed:
            if not adapter.forgotten:
                pulls += self._review(adapter, now)
        return pulls

    def _review(self, adapter: Adapter, now: float) -> list[Pull]:
        engines = len(self._traffic.fleet(adapter.base))
        mean = self._traffic.rate(adapter.base, now) / max(1, engines)
        home_rate = max(LEAST_RATE, SHARE * mean)
        adapter.resize(now, home_rate, engines)
        if adapter.homes > 1:
            self._many.add(adapter)
        elif adapter.rate(now) < home_rate / 2:
            return []  # it stays where it is, be it another than its home
        return [
            Pull(engine, adapter.base, adapter.digest)
            for engine in self._traffic.homes(adapter)
            if not engine.has(adapter.digest) and engine.breaker.allows(now)
        ]

    def _even_out(self, base: str, now: float) -> None:
        """One home more for an adapter of the engine that has the most to do.

        The adapter is the one of which that takes the most away, and whose next home has less to
        do than the mean.
        """
        fleet = self._traffic.fleet(base)
        if now - self._evened.setdefault(base, now) < SPREAD_EVERY or len(fleet) < 2:
            return
        rates = {engine: engine.rate.rate(now) for engine in fleet}
        mean = sum(rates.values()) / len(fleet)
        most = max(fleet, key=rates.__getitem__)
        if mean < LEAST_RATE or rates[most] < UNEVEN * mean:
            return
        self._evened[base] = now

        def next_has_less(adapter: Adapter) -> bool:
            order = self._traffic.order(adapter)
            return adapter.homes < len(order) and rates[order[adapter.homes]] < mean

        def may_move(adapter: Adapter) -> bool:
            return (
                adapter.base == base
                and adapter.rate(now) >= WORTH_SPREADING
                and next_has_less(adapter)
            )

        found = max(
            filter(may_move, self._traffic.known(most.adapters)),
            key=lambda a: a.rate(now) / (a.homes * (a.homes + 1)),
            default=None,
        )
        if found is not None:
            found.spread(now)
            self._many.add(found)

    def victims(self, engine: Engine) -> list[Drop]:
        """What `engine` should drop, so that pulls do not have it evict what is used more.

        An engine evicts what was used longest ago, which may be asked for every minute, and keeps
        what was asked for once. So what is worth least is dropped before it has to.
        """
        now = self._traffic.clock()
        coming = {*engine.running, *engine.pulling} - engine.adapters.keys()
        over = len(engine.adapters) + len(coming) - self._holds
        if over <= 0 or not engine.is_up:
            return []
        worths = dict.fromkeys((d for d in engine.adapters if d not in engine.running), 0.0)
        for adapter in self._traffic.known(worths):
            homes = self._traffic.homes(adapter)
            # Where its homes hold it, no request goes to a copy elsewhere.
            if engine in homes or not any(adapter.digest in home.adapters for home in homes):
                worths[adapter.digest] = adapter.worth(now)
        return [Drop(engine, d) for d in nsmallest(over, worths, key=worths.__getitem__)]
