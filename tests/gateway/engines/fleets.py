"""Engines that are up, without a network, and a clock that is moved by hand."""

from __future__ import annotations

from hashlib import sha256

from tunesmith.gateway.engines.choice import Router
from tunesmith.gateway.engines.engine import Engine
from tunesmith.gateway.engines.placement import Placement
from tunesmith.gateway.engines.traffic import Traffic

BASE = "pocket"


def engines_up(count: int) -> list[Engine]:
    """Engines of the base `BASE`."""
    made = [Engine(f"http://10.0.0.{number}:8000") for number in range(count)]
    for engine in made:
        engine.came_up(frozenset({BASE}), None)
    return made


def digest_of(number: int) -> str:
    """The digest of an adapter."""
    return sha256(str(number).encode()).hexdigest()


class Fleet:
    """A router and its plans over `count` engines."""

    def __init__(self, count: int, *, slots: int = 4, holds: int = 64) -> None:
        self.now = 1000.0
        self.engines = engines_up(count)
        self.holds = holds
        self.traffic = Traffic(self.engines, lambda: self.now)
        self.router = Router(self.traffic, slots)
        self.placement = Placement(self.traffic, holds)

    def choose(
        self, digest: str | None, affinity: int | None = None, exclude: Engine | None = None
    ) -> Engine:
        """The engine for a request, of which there must be one."""
        found = self.router.choose(BASE, digest, affinity=affinity, exclude=exclude)
        assert found is not None
        return found

    def answer(self, digest: str) -> Engine:
        """A request that is answered at once."""
        engine = self.choose(digest)
        with engine.serving(digest):
            pass
        engine.served(digest, self.holds)
        return engine

    def homes(self, digest: str) -> list[Engine]:
        """The engines that are to hold an adapter."""
        return list(self.traffic.homes(self.traffic.adapter(BASE, digest)))

    def ask_for(self, seconds: int, rates: dict[str, int]) -> None:
        """So many requests a second for each, answered at once; a plan a second, carried out."""
        for _ in range(seconds):
            for digest, rate in rates.items():
                for _ in range(rate):
                    self.answer(digest)
            self.now += 1.0
            for pull in self.placement.plan():
                pull.engine.served(pull.digest, self.holds)
