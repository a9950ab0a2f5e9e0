"""One policy over one sequence of requests, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate

from tunesmith.gateway.engines.engine import Engine, EngineStatus
from tunesmith.gateway.engines.placement import Pull

from .engine_model import Agenda, EngineModel, Shape, Work
from .policies import Policy

BASE = "base"
MakePolicy = Callable[[list[Engine], Callable[[], float]], Policy]


@dataclass(frozen=True)
class Demand:
    """Requests that come by chance (Poisson), for adapters whose popularity is Zipf's.

    Attributes:
        rate: requests a second.
        warm, measured: requests before the measurement and in it.
        mean_tokens: of an answer, geometrically distributed.
    """

    adapters: int = 1_000
    exponent: float = 1.0
    engines: int = 8
    rate: float = 120.0
    warm: int = 200_000
    measured: int = 200_000
    mean_tokens: int = 40
    seed: int = 1


@dataclass
class Outcome:
    """What was measured: loads, seconds to first tokens, and what was done for them."""

    loads: int = 0
    pulls: int = 0
    drops: int = 0
    served: list[int] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)

    @property
    def spread(self) -> float:
        """Requests of the engine with the most over the mean."""
        return max(self.served) * len(self.served) / sum(self.served)


class Simulation:
    """The engines as the gateway sees them, each with its model behind it."""

    def __init__(self, demand: Demand, shape: Shape, make: MakePolicy) -> None:
        self.agenda = Agenda()
        self.engines = [Engine(f"http://10.0.0.{number}:8000") for number in range(demand.engines)]
        self.models = {engine: EngineModel(self.agenda, shape) for engine in self.engines}
        for engine in self.engines:
            engine.came_up(frozenset({BASE}), None)
            assert engine.status is EngineStatus.UP
        self.policy = make(self.engines, lambda: self.agenda.now)
        self.outcome = Outcome()
        self._served = dict.fromkeys(self.engines, 0)
        self._demand = demand
        self.arrivals = _arrivals(demand, random.Random(demand.seed))

    def run(self) -> Outcome:
        """All requests; what came before the measurement is not counted."""
        arrivals = self.arrivals
        end = arrivals[-1][0]
        for second in range(1, int(end) + 1):
            self.agenda.at(float(second), self._plan)
        loads = 0
        for number, (time, digest, tokens) in enumerate(arrivals):
            self.agenda.run(time)
            self.agenda.now = time
            if number == self._demand.warm:
                loads = self._loads()
                self.outcome = Outcome()
                self._served = dict.fromkeys(self.engines, 0)
            self._send(digest, tokens)
        self.agenda.run(end + 600.0)
        self.outcome.loads = self._loads() - loads
        self.outcome.served = list(self._served.values())
        return self.outcome

    def _loads(self) -> int:
        return sum(model.loads for model in self.models.values())

    def _send(self, digest: str, tokens: int) -> None:
        engine = self.policy.choose(digest)
        self._served[engine] += 1
        engine.entered(digest)
        self._drop()
        sent, times = self.agenda.now, self.outcome.first_tokens

        def done() -> None:
            engine.left(digest)
            self.policy.answered(engine, digest)

        self.models[engine].take(
            Work(digest, tokens, lambda: times.append(self.agenda.now - sent), done)
        )

    def _plan(self) -> None:
        for pull in self.policy.plan():
            self._pull(pull)
        self._drop()

    def _drop(self) -> None:
        for drop in self.policy.victims():
            drop.engine.adapters.pop(drop.digest, None)
            self.models[drop.engine].drop(drop.digest)
            self.outcome.drops += 1

    def _pull(self, pull: Pull) -> None:
        pull.engine.pulling.add(pull.digest)
        self.outcome.pulls += 1

        def done() -> None:
            pull.engine.pulling.discard(pull.digest)
            self.policy.answered(pull.engine, pull.digest)

        self.models[pull.engine].take(Work(pull.digest, 1, lambda: None, done))


def _arrivals(demand: Demand, chance: random.Random) -> Sequence[tuple[float, str, int]]:
    digests = [sha256(str(number).encode()).hexdigest() for number in range(demand.adapters)]
    weights = list(accumulate((rank + 1) ** -demand.exponent for rank in range(demand.adapters)))
    requests = demand.warm + demand.measured
    drawn = chance.choices(digests, cum_weights=weights, k=requests)
    times = accumulate(chance.expovariate(demand.rate) for _ in range(requests))
    ends = 1.0 / demand.mean_tokens
    tokens = [1 + int(chance.expovariate(ends)) for _ in range(requests)]
    return list(zip(times, drawn, tokens, strict=True))
