"""Ways to choose an engine: the gateway's own, and what is common without it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Protocol

from tunesmith.gateway.engines.choice import Router
from tunesmith.gateway.engines.engine import Engine
from tunesmith.gateway.engines.placement import Drop, Placement, Pull
from tunesmith.gateway.engines.traffic import Traffic


class Policy(Protocol):
    """Chooses an engine for a request, and may ask for pulls once a second."""

    def choose(self, digest: str, affinity: int | None = None) -> Engine: ...

    def answered(self, engine: Engine, digest: str) -> None: ...

    def plan(self) -> list[Pull]: ...

    def victims(self) -> list[Drop]: ...


class Ours:
    """The gateway's router."""

    def __init__(
        self, engines: list[Engine], base: str, slots: int, holds: int, clock: Callable[[], float]
    ) -> None:
        traffic = Traffic(engines, clock)
        self._router = Router(traffic, slots)
        self._placement = Placement(traffic, holds)
        self._base = base
        self._holds = holds

    def choose(self, digest: str, affinity: int | None = None) -> Engine:
        found = self._router.choose(self._base, digest, affinity=affinity)
        assert found is not None
        return found

    def answered(self, engine: Engine, digest: str) -> None:
        engine.served(digest, self._holds)

    def plan(self) -> list[Pull]:
        pulls = self._placement.plan()
        self._router.crowded.update(pull.engine for pull in pulls)
        return pulls

    def victims(self) -> list[Drop]:
        crowded = list(self._router.crowded)
        self._router.crowded.clear()
        return [drop for engine in crowded for drop in self._placement.victims(engine)]


class OursWithoutDrops(Ours):
    """The gateway's router before engines that evict for themselves."""

    def victims(self) -> list[Drop]:
        return []


class _Blind:
    def answered(self, engine: Engine, digest: str) -> None:
        pass

    def plan(self) -> list[Pull]:
        return []

    def victims(self) -> list[Drop]:
        return []


class RoundRobin(_Blind):
    """Each engine in turn."""

    def __init__(self, engines: list[Engine]) -> None:
        self._engines = engines
        self._turn = count()

    def choose(self, digest: str, affinity: int | None = None) -> Engine:
        return self._engines[next(self._turn) % len(self._engines)]


class LeastLoaded(_Blind):
    """The engine with the fewest requests in it; equal ones in turn."""

    def __init__(self, engines: list[Engine]) -> None:
        self._engines = engines
        self._turn = count()

    def choose(self, digest: str, affinity: int | None = None) -> Engine:
        start = next(self._turn)
        size = len(self._engines)
        order = [self._engines[(start + step) % size] for step in range(size)]
        return min(order, key=lambda engine: engine.in_flight)
