"""An engine in virtual time: adapters in memory, a batch with slots, a queue."""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count


class Agenda:
    """What happens when; `now` is the time of what happens."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Do `what` at `time`; at the same time, in the order in which it was asked for."""
        heapq.heappush(self._events, (time, next(self._number), what))

    def run(self, until: float) -> None:
        """Let everything happen up to `until`."""
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()


@dataclass(frozen=True)
class Shape:
    """What an engine can do; times in seconds."""

    holds: int = 64
    batch: int = 32
    slots: int = 16
    load: float = 0.5
    prefill: float = 0.05
    per_token: float = 0.02


@dataclass(eq=False)
class Work:
    """A request: `first` is called at its first token, `done` at its last."""

    digest: str
    tokens: int
    first: Callable[[], None]
    done: Callable[[], None]


class EngineModel:
    """One engine. Loads go on beside each other and beside the batch, each in the same time."""

    def __init__(self, agenda: Agenda, shape: Shape) -> None:
        self.loads = 0
        self._agenda = agenda
        self._shape = shape
        self._resident: OrderedDict[str, None] = OrderedDict()
        self._loading: dict[str, list[Work]] = {}
        self._queue: deque[Work] = deque()
        self._running: Counter[str] = Counter()

    def take(self, work: Work) -> None:
        """A request arrives; its adapter is loaded first where it is not in memory."""
        if work.digest in self._resident:
            self._resident.move_to_end(work.digest)
            self._enqueue(work)
        elif work.digest in self._loading:
            self._loading[work.digest].append(work)
        else:
            self.loads += 1
            self._loading[work.digest] = [work]
            self._agenda.at(self._agenda.now + self._shape.load, lambda: self._loaded(work.digest))

    def drop(self, digest: str) -> None:
        """It is told to unload an adapter."""
        self._resident.pop(digest, None)

    def _loaded(self, digest: str) -> None:
        self._resident[digest] = None
        if len(self._resident) > self._shape.holds:
            # vLLM uses an adapter again at every step of its batch.
            del self._resident[next(d for d in self._resident if d not in self._running)]
        for work in self._loading.pop(digest):
            self._enqueue(work)

    def _enqueue(self, work: Work) -> None:
        self._queue.append(work)
        self._start()

    def _start(self) -> None:
        """Fill the batch in order; as in vLLM, one whose adapter has no slot is passed over."""
        held: list[Work] = []
        while self._queue and self._running.total() < self._shape.batch:
            work = self._queue.popleft()
            if work.digest not in self._running and len(self._running) >= self._shape.slots:
                held.append(work)
            else:
                self._run(work)
        self._queue.extendleft(reversed(held))

    def _run(self, work: Work) -> None:
        self._running[work.digest] += 1
        first = self._agenda.now + self._shape.prefill
        self._agenda.at(first, work.first)
        self._agenda.at(
            first + self._shape.per_token * (work.tokens - 1), lambda: self._ended(work)
        )

    def _ended(self, work: Work) -> None:
        if work.digest in self._resident:
            self._resident.move_to_end(work.digest)
        self._running[work.digest] -= 1
        if not self._running[work.digest]:
            del self._running[work.digest]
        work.done()
        self._start()
