"""Which engine a request goes to, and which adapters engines should hold before they are asked.

Nothing here waits or does I/O, and the clock is given, so that a simulation runs the same code.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import ceil

from .adapter import LEAST_RATE, SHARE, Adapter
from .engine import Engine
from .hashing import nearness
from .heat import Heat

BOUND = 1.25
"""No engine above this times the mean of requests in engines, c of consistent hashing with bounded
loads (Mirrokni, Thorup and Zadimoghaddam 2016); HAProxy recommends 1.25 to 2 (hash-balance-factor).
"""
SLACK = 16
"""Requests above the mean that are never too many. They cost a batch less than the pull of an
adapter does, and chance alone exceeds 1.25 times a small mean: in the simulation, 8 made twice as
many loads and the same balance.
"""
UNEVEN = 1.15
"""An engine with this times the mean of requests a second gives of its most asked for adapter's to
another: well below what the bound allows, so that it is not needed every day."""
SPREAD_EVERY = 30.0
"""Seconds between two such steps: what one brings shows in the rates only then."""
TIE = 2
"""Engines whose requests differ by no more are equally busy; then the prompt's prefix decides."""
REMEMBERED = 50_000
"""Adapters whose traffic is remembered, the last asked for; the rest count as cold."""
_RATE_HALF_LIFE = 10.0


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


class Router:
    """Chooses among `engines`, a list that its owner changes and then calls `changed`.

    Args:
        slots: distinct adapters in one batch of an engine (vLLM's --max-loras).
        holds: adapters in an engine's memory (vLLM's --max-cpu-loras).
        clock: seconds, monotonic.
    """

    def __init__(
        self, engines: list[Engine], *, slots: int, holds: int, clock: Callable[[], float]
    ) -> None:
        self.engines = engines
        self.slots = slots
        self.holds = holds
        self.clock = clock
        self._version = 0
        self._fleets: dict[str, list[Engine]] = {}
        self._adapters: OrderedDict[str, Adapter] = OrderedDict()
        self._asked: set[Adapter] = set()
        self._crowded: set[Engine] = set()
        self._many: set[Adapter] = set()
        self._evened: dict[str, float] = {}
        self._bases: dict[str, Heat] = {}

    @property
    def is_crowded(self) -> bool:
        """Whether an engine may have to drop adapters: `victims` says which."""
        return bool(self._crowded)

    def changed(self) -> None:
        """An engine came, went, or takes requests now or no more."""
        self._version += 1
        self._fleets.clear()

    def fleet(self, base: str) -> Sequence[Engine]:
        """Engines that take new requests for `base`, but for those whose breaker is open."""
        found = self._fleets.get(base)
        if found is None:
            found = [e for e in self.engines if e.is_up and not e.draining and base in e.bases]
            self._fleets[base] = found
        return found

    def choose(
        self,
        base: str,
        digest: str | None,
        *,
        affinity: int | None = None,
        exclude: Engine | None = None,
    ) -> Engine | None:
        """The engine for a request, which is about to be sent there; None: there is none."""
        fleet = self.fleet(base)
        if not fleet:
            return None
        now = self.clock()
        if digest is None:
            open_ = _open(fleet, exclude, now)
            chosen = _nearest(open_, affinity) if open_ else None
        else:
            adapter = self._adapter(base, digest, now)
            chosen = self._home(adapter, fleet, affinity, exclude, now)
            if chosen is not None:
                self._remember(adapter, now)
                if digest in chosen.adapters:
                    chosen.adapters.move_to_end(digest)
        if chosen is not None:
            chosen.breaker.took(now)
            heat = self._bases.get(base)
            if heat is None:
                heat = self._bases[base] = Heat(_RATE_HALF_LIFE, now)
                self._evened[base] = now
            heat.add(now)
            chosen.rate.add(now)
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
        order = adapter.ranked(fleet, self._version)
        holders = [
            engine
            for engine in order[: adapter.homes]
            if digest in engine.adapters and engine is not exclude and engine.breaker.allows(now)
        ]
        if len(holders) == 1 and holders[0].busy <= SLACK:
            return holders[0]
        if not holders:
            order = tuple(_open(order, exclude, now))
            holders = [engine for engine in order if digest in engine.adapters]
            if not holders:
                for engine in order:
                    if digest in engine.running or digest in engine.pulling:
                        return engine
                return self._cold(self._first_with_room(order, digest, _bound(fleet)))
        chosen = _nearest(self._with_slot(holders, digest), affinity)
        bound = _bound(fleet)
        if chosen.busy <= bound:
            return chosen
        others = [e for e in _open(order, exclude, now) if digest not in e.adapters]
        return self._cold(self._first_with_room(others, digest, bound, chosen))

    def _cold(self, engine: Engine | None) -> Engine | None:
        if engine is not None:
            self._crowded.add(engine)
        return engine

    def _first_with_room(
        self,
        order: Sequence[Engine],
        digest: str,
        bound: float,
        otherwise: Engine | None = None,
    ) -> Engine | None:
        for engine in order:
            if engine.busy < bound and (
                len(engine.running) < self.slots or digest in engine.running
            ):
                return engine
        return otherwise or min(order, key=lambda engine: engine.busy, default=None)

    def _with_slot(self, engines: Sequence[Engine], digest: str) -> Sequence[Engine]:
        free = [e for e in engines if digest in e.running or len(e.running) < self.slots]
        return free or engines

    def _adapter(self, base: str, digest: str, now: float) -> Adapter:
        found = self._adapters.get(digest)
        if found is None or found.base != base:  # two names of one base
            return Adapter(base, digest, now)
        return found

    def _remember(self, adapter: Adapter, now: float) -> None:
        adapter.asked(now)
        self._adapters[adapter.digest] = adapter
        self._adapters.move_to_end(adapter.digest)
        self._asked.add(adapter)
        while len(self._adapters) > REMEMBERED:
            _, forgotten = self._adapters.popitem(last=False)
            self._many.discard(forgotten)

    def forget(self, digest: str) -> None:
        """The adapter was deleted: it is neither warmed nor kept any more."""
        adapter = self._adapters.pop(digest, None)
        if adapter is not None:
            self._asked.discard(adapter)
            self._many.discard(adapter)

    def homes(self, base: str, digest: str) -> Sequence[Engine]:
        """The engines that the adapter's requests go to once they hold it."""
        adapter = self._adapter(base, digest, self.clock())
        return adapter.ranked(self.fleet(base), self._version)[: adapter.homes]

    def lost(self, engine: Engine) -> list[Pull]:
        """What an engine that came up should hold again: whose home it is, the most used first."""
        now = self.clock()
        mine = [
            adapter
            for adapter in self._adapters.values()
            if adapter.base in engine.bases
            and engine in adapter.ranked(self.fleet(adapter.base), self._version)[: adapter.homes]
        ]
        mine.sort(key=lambda adapter: adapter.worth(now), reverse=True)
        return [Pull(engine, a.base, a.digest) for a in mine[: self.holds]]

    def plan(self) -> list[Pull]:
        """Give adapters as many homes as they are worth, and say what is to be pulled for that.

        To be called about once a second.
        """
        now = self.clock()
        pulls = []
        self._even_out(now)
        reviewed = self._asked | self._many
        self._asked = set()
        for adapter in reviewed:
            fleet = self.fleet(adapter.base)
            home_rate = self._home_rate(adapter.base, len(fleet), now)
            adapter.resize(now, home_rate, len(fleet))
            if adapter.homes > 1:
                self._many.add(adapter)
            else:
                self._many.discard(adapter)
                if adapter.rate(now) < home_rate / 2:
                    continue  # it stays where it is
            for engine in adapter.ranked(fleet, self._version)[: adapter.homes]:
                if (
                    adapter.digest not in engine.adapters
                    and adapter.digest not in engine.running
                    and adapter.digest not in engine.pulling
                    and engine.breaker.allows(now)
                ):
                    self._crowded.add(engine)
                    pulls.append(Pull(engine, adapter.base, adapter.digest))
        return pulls

    def _even_out(self, now: float) -> None:
        """One home more for the most asked for adapter of the engine that has the most to do."""
        for base, since in self._evened.items():
            fleet = self.fleet(base)
            if now - since < SPREAD_EVERY or len(fleet) < 2:
                continue
            rates = {engine: engine.rate.rate(now) for engine in fleet}
            mean = sum(rates.values()) / len(fleet)
            most = max(fleet, key=rates.__getitem__)
            if mean < LEAST_RATE or rates[most] < UNEVEN * mean:
                continue
            self._evened[base] = now
            found = max(
                (a for a in self._on(most) if self._next_is_below(a, rates, mean)),
                key=lambda a: a.rate(now) / (a.homes * (a.homes + 1)),
                default=None,
            )
            if found is not None:
                found.spread(now)
                self._many.add(found)

    def _on(self, engine: Engine) -> Iterable[Adapter]:
        for digest in engine.adapters:
            adapter = self._adapters.get(digest)
            if adapter is not None:
                yield adapter

    def _next_is_below(self, adapter: Adapter, rates: dict[Engine, float], mean: float) -> bool:
        order = adapter.ranked(self.fleet(adapter.base), self._version)
        return adapter.homes < len(order) and rates[order[adapter.homes]] < mean

    def _home_rate(self, base: str, engines: int, now: float) -> float:
        heat = self._bases.get(base)
        mean = heat.rate(now) / max(1, engines) if heat else 0.0
        return max(LEAST_RATE, SHARE * mean)

    def victims(self) -> list[Drop]:
        """What engines should drop, so that pulls do not have them evict what is used more.

        An engine evicts what was used longest ago, which may be asked for every minute, and keeps
        what was asked for once. So it is kept from being full, and what is worth least goes.
        """
        now = self.clock()
        found = []
        for engine in self._crowded:
            coming = sum(d not in engine.adapters for d in (*engine.running, *engine.pulling))
            over = len(engine.adapters) + coming - self.holds
            if over <= 0 or not engine.is_up:
                continue
            idle = {
                d: self._worth(engine, d, now) for d in engine.adapters if d not in engine.running
            }
            found += [Drop(engine, d) for d in nsmallest(over, idle, key=idle.__getitem__)]
        self._crowded.clear()
        return found

    def _worth(self, engine: Engine, digest: str, now: float) -> float:
        adapter = self._adapters.get(digest)
        if adapter is None:
            return 0.0
        homes = adapter.ranked(self.fleet(adapter.base), self._version)[: adapter.homes]
        if engine not in homes and any(digest in home.adapters for home in homes):
            return 0.0  # a copy that no request goes to
        return adapter.worth(now)


def _open(engines: Iterable[Engine], exclude: Engine | None, now: float) -> list[Engine]:
    return [e for e in engines if e is not exclude and e.breaker.allows(now)]


def _nearest(engines: Sequence[Engine], affinity: int | None) -> Engine:
    """The least busy; of those that are about equally so, the nearest to the prompt's prefix."""
    if len(engines) == 1:
        return engines[0]
    if affinity is None:
        return min(engines, key=lambda engine: engine.busy)
    most = min(engine.busy for engine in engines) + TIE
    equal = [engine for engine in engines if engine.busy <= most]
    return max(equal, key=lambda engine: nearness(engine, affinity))


def _bound(fleet: Sequence[Engine]) -> float:
    mean = sum(engine.busy for engine in fleet) / len(fleet)
    return max(ceil(BOUND * (mean + 1 / len(fleet))), mean + SLACK)
