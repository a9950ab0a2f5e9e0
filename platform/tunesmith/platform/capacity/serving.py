"""The simulation of engines: requests by home, adapters that come and go, shared batches."""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from simpy import Environment
from simpy.events import Event

from .sharing import SharedServer
from .speeds import Engine
from .theory import characteristic_time

Residency = Literal["worth", "lru"]
"""What leaves an engine that is full: the adapter that is asked for least (docs/routing.md, with
our plugin), or the one used longest ago (vLLM without it)."""

_HOME_SHARE = 0.25
"""Of an engine's mean traffic: what one home of an adapter is worth (docs/routing.md)."""
_PASSED_OVER = 64
"""Requests that are looked at, at most, past one whose adapter has no slot in the batch."""
_HOPELESS = 2000
"""Requests that wait at one engine when it is clear that it does not carry its load."""


@dataclass(frozen=True)
class Demand:
    """Requests of one base's engines in the busiest hour.

    Attributes:
        rate: requests a second of clients, by chance (Poisson).
        shares: of these, how many each tuned model gets, the most popular first.
        base_rate, fresh_rate: requests a second of evaluations, to the base and to new models.
        publications: models a second that are proved on every engine.
        constant: whether answers all have the mean length, else it is their mean (exponential).
    """

    rate: float
    shares: Sequence[float]
    completion_tokens: float
    base_rate: float = 0.0
    fresh_rate: float = 0.0
    publications: float = 0.0
    constant: bool = False


@dataclass
class ServingOutcome:
    """What came of the clients' requests that were measured.

    Attributes:
        requests: that came; `first_tokens` are seconds to the first token of each that had one.
        cold: that had to wait for their adapter to be loaded, or for one being loaded.
        loads: adapters that were loaded, for whatever reason.
        carried: whether the engines kept up.
        mean_running, mean_adapters: requests in a batch, and their adapters, in the mean of the
            engines and over time.
        finished, left: of the requests, those answered to the end and those not, at the end.
    """

    requests: int = 0
    first_tokens: list[float] = field(default_factory=list)
    cold: int = 0
    loads: int = 0
    carried: bool = True
    mean_running: float = 0.0
    mean_adapters: float = 0.0
    finished: int = 0
    left: int = 0


@dataclass(eq=False)
class _Request:
    adapter: int
    tokens: float
    arrived: float
    counts: bool


_BASE = -1


class _Running:
    """One engine: what it holds, its batch, and who waits."""

    def __init__(
        self,
        env: Environment,
        engine: Engine,
        outcome: ServingOutcome,
        worth: Callable[[int], float] | None,
    ) -> None:
        self._env = env
        self._engine = engine
        self._outcome = outcome
        self._worth = worth
        self.batch = SharedServer(env, engine.token_speed)
        self.resident: OrderedDict[int, None] = OrderedDict()
        self._least: list[tuple[float, int]] = []
        self._loading: dict[int, list[_Request]] = {}
        self._waiting: deque[_Request] = deque()
        self._prompts: deque[_Request] = deque()
        self._prompting = False
        self._adapters: Counter[int] = Counter()
        self._in_batch = 0

    @property
    def in_batch(self) -> int:
        """Requests in the batch."""
        return self._in_batch

    @property
    def adapters(self) -> int:
        """Distinct adapters in the batch."""
        return len(self._adapters)

    @property
    def load(self) -> int:
        """Requests in it."""
        return self._in_batch + len(self._waiting)

    @property
    def hopeless(self) -> bool:
        return len(self._waiting) > _HOPELESS

    def holds(self, adapter: int) -> bool:
        return adapter in self.resident

    def hold(self, adapter: int) -> None:
        """Have an adapter from the start."""
        self.resident[adapter] = None
        self._know(adapter)

    def take(self, request: _Request) -> None:
        """A request arrives."""
        adapter = request.adapter
        if adapter == _BASE or adapter in self.resident:
            if adapter != _BASE:
                self.resident.move_to_end(adapter)
            self._enqueue(request)
            return
        if request.counts:
            self._outcome.cold += 1
        self.pull(adapter, request)

    def pull(self, adapter: int, request: _Request | None = None) -> None:
        """Load an adapter, for a request or ahead of one."""
        waiting = self._loading.get(adapter)
        if waiting is None:
            if adapter in self.resident:
                return
            self._outcome.loads += 1
            waiting = self._loading[adapter] = []
            ahead = self._engine.load_seconds - self._engine.stall_seconds
            timer = self._env.timeout(max(0.0, ahead))
            timer.callbacks.append(lambda _: self._copy(adapter))
        if request is not None:
            waiting.append(request)

    def _copy(self, adapter: int) -> None:
        """The last part of a load, for which the batch stands still."""
        self.batch.hold()

        def done(_: object) -> None:
            self.batch.release()
            self.resident[adapter] = None
            self._know(adapter)
            if len(self.resident) > self._engine.max_cpu_loras:
                self._evict(adapter)
            for request in self._loading.pop(adapter):
                self._enqueue(request)

        self._env.timeout(self._engine.stall_seconds).callbacks.append(done)

    def _know(self, adapter: int) -> None:
        if self._worth is not None:
            heapq.heappush(self._least, (self._worth(adapter), adapter))

    def _evict(self, newest: int) -> None:
        """Drop one that answers nothing; the newest stays, it is about to be used."""
        if self._worth is None:
            for adapter in self.resident:
                if adapter not in self._adapters and adapter != newest:
                    del self.resident[adapter]
                    return
            return
        kept = []
        while self._least:
            entry = heapq.heappop(self._least)
            adapter = entry[1]
            if adapter not in self.resident:
                continue
            if adapter in self._adapters or adapter == newest:
                kept.append(entry)
                continue
            del self.resident[adapter]
            break
        for entry in kept:
            heapq.heappush(self._least, entry)

    def _enqueue(self, request: _Request) -> None:
        self._waiting.append(request)
        self._admit()

    def _admit(self) -> None:
        """Fill the batch in order; as in vLLM, one whose adapter has no slot is passed over."""
        held: list[_Request] = []
        engine = self._engine
        while self._waiting and self._in_batch < engine.max_running and len(held) < _PASSED_OVER:
            request = self._waiting.popleft()
            adapter = request.adapter
            full = len(self._adapters) >= engine.max_loras
            if adapter != _BASE and adapter not in self._adapters and full:
                held.append(request)
                continue
            if adapter != _BASE:
                self._adapters[adapter] += 1
            self._in_batch += 1
            self._prompts.append(request)
            if not self._prompting:
                self._prompt()
        self._waiting.extendleft(reversed(held))

    def _prompt(self) -> None:
        """Prompts are computed one after the other; decoding stands still meanwhile."""
        if not self._prompts:
            return
        request = self._prompts.popleft()
        self._prompting = True
        self.batch.hold()

        def done(_: object) -> None:
            self.batch.release()
            self._prompting = False
            # The prompt's pass gives the first token.
            if request.counts:
                self._outcome.first_tokens.append(self._env.now - request.arrived)
            self.batch.add(max(0.0, request.tokens - 1), lambda: self._ended(request))
            self._prompt()

        self._env.timeout(self._engine.prompt_seconds).callbacks.append(done)

    def _ended(self, request: _Request) -> None:
        adapter = request.adapter
        self._in_batch -= 1
        if adapter != _BASE:
            self._adapters[adapter] -= 1
            if not self._adapters[adapter]:
                del self._adapters[adapter]
            if adapter in self.resident:
                self.resident.move_to_end(adapter)
        if request.counts:
            self._outcome.finished += 1
        self._admit()


class ServingSimulation:
    """Some engines of one base with gateways before them."""

    def __init__(
        self,
        engine: Engine,
        engines: int,
        demand: Demand,
        *,
        residency: Residency = "worth",
        seed: int = 1,
    ) -> None:
        self._env = Environment()
        self._demand = demand
        self._chance = random.Random(seed)  # noqa: S311 - a simulation
        self.outcome = ServingOutcome()
        self._shares = demand.shares
        self._edges = list(accumulate(self._shares))
        worth = self._worth if residency == "worth" else None
        self._engines = [_Running(self._env, engine, self.outcome, worth) for _ in range(engines)]
        self._engine = engine
        self._homes = self._find_homes()
        self._fresh = len(demand.shares)
        self._fill(residency)

    def run(self, warm: int, measured: int) -> ServingOutcome:
        """Let requests come: `warm` that are not counted, then `measured` that are."""
        demand, out = self._demand, self.outcome
        total = warm + measured
        rate = demand.rate + demand.base_rate + demand.fresh_rate + demand.publications
        limits = list(
            accumulate(
                part / rate
                for part in (demand.rate, demand.base_rate, demand.fresh_rate, demand.publications)
            )
        )
        chance = self._chance
        running: list[int] = []
        adapters: list[int] = []

        def arrivals() -> Generator[Event, object, None]:
            seen = 0
            while seen < total:
                yield self._env.timeout(chance.expovariate(rate))
                kind = bisect(limits, chance.random())
                if kind == 0 or kind > 3:
                    seen += 1
                    counts = seen > warm
                    if seen == warm + 1:
                        out.loads = 0
                    out.requests += counts
                    adapter = min(bisect(self._edges, chance.random()), len(self._shares) - 1)
                    self._send(adapter, counts)
                    if counts and seen % 50 == 0:
                        running.append(sum(each.in_batch for each in self._engines))
                        adapters.append(sum(each.adapters for each in self._engines))
                    if any(each.hopeless for each in self._engines):
                        out.carried = False
                        return
                elif kind == 1:
                    self._send(_BASE, False)
                elif kind == 2:
                    self._send(self._fresh, False)
                else:
                    self._fresh += 1
                    for each in self._engines:
                        each.pull(self._fresh)

        self._env.run(until=self._env.process(arrivals()))
        if out.carried:  # those under way get their first token
            self._env.run(until=self._env.now + 60 + 2 * self._engine.load_seconds)
        out.left = out.requests - out.finished
        samples = max(1, len(running)) * len(self._engines)
        out.mean_running = sum(running) / samples
        out.mean_adapters = sum(adapters) / samples
        return out

    def _worth(self, adapter: int) -> float:
        return self._shares[adapter] if adapter < len(self._shares) else 0.0

    def _find_homes(self) -> dict[int, list[_Running]]:
        """Homes of the popular adapters; of all others the first home alone, by their number."""
        homes = {}
        count = len(self._engines)
        for adapter, share in enumerate(self._shares):
            wanted = min(count, math.ceil(share * count / _HOME_SHARE))
            if wanted < 2:
                break
            order = random.Random(adapter).sample(self._engines, wanted)  # noqa: S311
            homes[adapter] = order
        return homes

    def _homes_of(self, adapter: int) -> list[_Running]:
        found = self._homes.get(adapter)
        if found is None:
            # A hash that spreads neighbours (Knuth's multiplicative one).
            found = [self._engines[(adapter * 2654435761 >> 7) % len(self._engines)]]
        return found

    def _send(self, adapter: int, counts: bool) -> None:
        demand = self._demand
        mean = demand.completion_tokens
        tokens = mean if demand.constant else 1 + self._chance.expovariate(1 / mean)
        request = _Request(adapter, tokens, self._env.now, counts)
        homes = self._engines if adapter == _BASE else self._homes_of(adapter)
        holding = [each for each in homes if each.holds(adapter)] or homes
        min(holding, key=lambda each: each.load).take(request)

    def _fill(self, residency: Residency) -> None:
        """Begin with what engines hold after a long time, by worth or by Che's approximation."""
        places = self._engine.max_cpu_loras
        own: dict[int, list[int]] = {number: [] for number in range(len(self._engines))}
        where = {id(each): number for number, each in enumerate(self._engines)}
        for adapter in range(len(self._shares)):
            for home in self._homes_of(adapter):
                own[where[id(home)]].append(adapter)
        for number, adapters in own.items():
            engine = self._engines[number]
            for adapter in self._long_there(adapters, places, residency):
                engine.hold(adapter)

    def _long_there(
        self, adapters: Sequence[int], places: int, residency: Residency
    ) -> Sequence[int]:
        if residency == "worth" or len(adapters) <= places:
            return adapters[:places][::-1]
        total = math.fsum(self._shares[adapter] for adapter in adapters)
        shares = [self._shares[adapter] / total for adapter in adapters]
        time = characteristic_time(shares, places)
        there = [
            adapter
            for adapter, share in zip(adapters, shares, strict=True)
            if self._chance.random() < -math.expm1(-share * time)
        ]
        return there[:places][::-1]
