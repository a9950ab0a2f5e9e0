"""One engine as the gateway sees it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from types import TracebackType

from .breaker import Breaker
from .heat import Heat

_RATE_HALF_LIFE = 30.0


class EngineStatus(StrEnum):
    """Whether requests are sent to an engine."""

    UNKNOWN = "unknown"  # not yet looked at
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Load:
    """What an engine reports of itself: requests, and the share of its KV cache that is used.

    Attributes:
        started_at: when its process began, in seconds since the epoch; None where it is not told.
    """

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    started_at: float | None = None


@dataclass(eq=False)
class Engine:
    """A vLLM server at `url`, and what is known of it.

    Attributes:
        server_name: what its certificate has to name, where that is not the host of `url`.
        bases: the names under which it serves its base.
        in_flight: requests of this gateway in it.
        running: how many of them are for each adapter.
        others: requests in it that are not this gateway's, as of its last report.
        adapters: digests that it served since it came up, the last used last. A guess: it keeps
            the last used as vLLM does, without what other gateways asked for.
        pulling: digests that it was told to pull and does not hold yet.
        loads: adapters that it had to pull for this gateway, since the gateway started.
        load_failures: adapters that it was told to pull and did not.
        drops: adapters that it was told to drop, to make room.
        restarts: times that it came back as another process.
        started_at: when its process began, as of its last report.
        sent: requests since the last count.
        rate: requests that this gateway sends to it, a second.
        leaving: no source names it as ready any more: it only ends what it has.
    """

    url: str
    server_name: str | None = None
    status: EngineStatus = EngineStatus.UNKNOWN
    reason: str = "It was not looked at yet."
    bases: frozenset[str] = frozenset()
    max_model_len: int | None = None
    in_flight: int = 0
    unanswered: int = 0
    others: int = 0
    load: Load | None = None
    leaving: bool = False
    breaker: Breaker = field(default_factory=Breaker)
    running: dict[str, int] = field(default_factory=dict)
    adapters: OrderedDict[str, None] = field(default_factory=OrderedDict)
    pulling: set[str] = field(default_factory=set)
    look_again: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0
    rate: Heat = field(default_factory=lambda: Heat(_RATE_HALF_LIFE, 0.0))
    loads: int = 0
    load_failures: int = 0
    drops: int = 0
    restarts: int = 0
    started_at: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self.seed = int.from_bytes(blake2b(self.url.encode(), digest_size=8).digest())

    @property
    def is_up(self) -> bool:
        """Whether it is well."""
        return self.status is EngineStatus.UP

    @property
    def busy(self) -> int:
        """Requests in it, waiting ones and those of other gateways too."""
        return self.in_flight + self.others

    def has(self, digest: str) -> bool:
        """Whether it holds an adapter, or will once it is pulled."""
        return digest in self.adapters or digest in self.running or digest in self.pulling

    def may_serve(self, base: str) -> bool:
        """Whether it serves `base`, or could: one never seen up is unknown."""
        return not self.leaving and (not self.bases or base in self.bases)

    def serving(self, digest: str | None = None) -> Serving:
        """Count a request as being in this engine, for an adapter where it is for one."""
        return Serving(self, digest)

    def entered(self, digest: str | None) -> None:
        """A request is in it from now on, until `left`."""
        self.in_flight += 1
        if digest is not None:
            self.running[digest] = self.running.get(digest, 0) + 1

    def left(self, digest: str | None) -> None:
        """A request that `entered` is over."""
        self.in_flight -= 1
        if digest is not None:
            if self.running[digest] > 1:
                self.running[digest] -= 1
            else:
                del self.running[digest]

    def reported(self, load: Load | None) -> None:
        """It told its load; what is not this gateway's is others'."""
        self.load = load
        total = load.running + load.waiting if load else 0
        self.others = max(0, total - self.in_flight)
        if load is not None and load.started_at is not None:
            if self.started_at is not None and load.started_at > self.started_at + 1.0:
                self.restarts += 1
                self.adapters.clear()  # however quickly it came back, it holds none
            self.started_at = load.started_at

    def came_up(self, bases: frozenset[str], max_model_len: int | None) -> None:
        """It answers, and this is what it serves; it holds no adapter yet."""
        if self.bases and self.started_at is None:
            self.restarts += 1  # it may only have been out of reach: it does not tell
        self.status = EngineStatus.UP
        self.reason = ""
        self.bases = bases
        self.max_model_len = max_model_len
        self.unanswered = 0
        self.breaker = Breaker()
        self.adapters.clear()

    def went_down(self, reason: str) -> None:
        """It gets no requests until it is seen to be well."""
        self.status = EngineStatus.DOWN
        self.reason = reason
        self.reported(None)
        self.adapters.clear()

    def served(self, digest: str, keep: int) -> None:
        """It answered for an adapter, so it holds it, and `keep` at most.

        vLLM uses an adapter again at every step of a batch that it is in, so those of requests
        that run are not the ones that it evicts.
        """
        if digest not in self.adapters:
            self.loads += 1
        self.adapters[digest] = None
        self.adapters.move_to_end(digest)
        while len(self.adapters) > keep:
            idle = (d for d in self.adapters if d not in self.running)
            del self.adapters[next(idle, digest)]


class Serving:
    """A request in an engine, for as long as it is entered."""

    __slots__ = ("_digest", "_engine")

    def __init__(self, engine: Engine, digest: str | None) -> None:
        self._engine = engine
        self._digest = digest

    def __enter__(self) -> None:
        self._engine.entered(self._digest)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.left(self._digest)
