"""One run: requests come, wait for their turn, and are answered by the model of an engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from tunesmith.gateway.fairness.fair_queue import FairQueue
from tunesmith.gateway.fairness.turn import Turn

from .engine import Engine, Request

ESTIMATED_ANSWER = 256
"""What the gateway thinks of an answer before it comes: more than most are."""


class Line(Protocol):
    """Lets requests go to the engine."""

    def arrive(self, request: Request) -> None:
        """A request came: `begin` is called for it, now or later."""
        ...


class Fair:
    """The gateway's own queue."""

    def __init__(self, slots: int, engine: Engine) -> None:
        self._queue = FairQueue(slots, lambda: engine.now)
        self._engine = engine

    def arrive(self, request: Request) -> None:
        """Begin, or line up."""
        cost = request.prompt + ESTIMATED_ANSWER
        turn = self._queue.try_enter(request.tenant, cost)
        if turn is not None:
            self._begin(request, turn)
            return
        waiting = self._queue.line_up(request.tenant, cost, lambda: self._begin(request, waiting))

    def _begin(self, request: Request, turn: Turn) -> None:
        request.done = lambda: turn.leave(request.prompt + request.answer)
        self._engine.begin(request)


class FirstComeFirstServed:
    """What there was before: one line for all."""

    def __init__(self, slots: int, engine: Engine) -> None:
        self._free = slots
        self._engine = engine
        self._line: deque[Request] = deque()

    def arrive(self, request: Request) -> None:
        """Begin, or line up."""
        request.done = self._ended
        self._line.append(request)
        self._serve()

    def _ended(self) -> None:
        self._free += 1
        self._serve()

    def _serve(self) -> None:
        while self._free and self._line:
            self._free -= 1
            self._engine.begin(self._line.popleft())


MakeLine = Callable[[int, Engine], Line]


def run(make: MakeLine, slots: int, arriving: Iterator[Request], seconds: float) -> list[Request]:
    """All requests of a run of so many seconds, answered or not."""
    engine = Engine()
    line = make(slots, engine)
    came: list[Request] = []
    following = next(arriving, None)
    while engine.now < seconds:
        while following is not None and following.arrived <= engine.now:
            line.arrive(following)
            came.append(following)
            following = next(arriving, None)
        if not engine.is_idle:
            engine.step()
        elif following is not None:
            engine.now = following.arrived
        else:
            break
    return came
