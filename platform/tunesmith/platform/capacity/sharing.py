"""Work that is done side by side, at a speed that depends on how much of it there is."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from simpy import Environment
from simpy.events import Event


class SharedServer:
    """Processor sharing in virtual time: everybody gets the same, nobody is stepped one by one.

    Args:
        speed: work that each one gets done in a second, by how many there are.
    """

    def __init__(self, env: Environment, speed: Callable[[int], float]) -> None:
        self._env = env
        self._speed = speed
        self._attained = 0.0
        self._since = env.now
        self._members: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._version = 0
        self._held = 0
        self.busy_seconds = 0.0
        self.held_seconds = 0.0

    def __len__(self) -> int:
        return len(self._members)

    def add(self, work: float, done: Callable[[], None]) -> None:
        """Begin `work`; `done` is called when it is complete."""
        self._advance()
        heapq.heappush(self._members, (self._attained + work, next(self._number), done))
        self._schedule()

    def hold(self) -> None:
        """Stand still until as many calls of `release`: something else needs the device."""
        self._advance()
        self._held += 1
        self._schedule()

    def release(self) -> None:
        """The opposite of `hold`."""
        self._advance()
        self._held -= 1
        self._schedule()

    def _advance(self) -> None:
        now = self._env.now
        passed, self._since = now - self._since, now
        if self._held:
            self.held_seconds += passed
        elif self._members:
            self.busy_seconds += passed
            self._attained += passed * self._speed(len(self._members))

    def _schedule(self) -> None:
        self._version += 1
        if self._held or not self._members:
            return
        version, left = self._version, self._members[0][0] - self._attained

        def fire(_: Event) -> None:
            if version == self._version:
                self._complete()

        timer = self._env.timeout(max(0.0, left) / self._speed(len(self._members)))
        timer.callbacks.append(fire)

    def _complete(self) -> None:
        self._advance()
        # The timer was for the first one: a rounding error must not leave it.
        self._attained = max(self._attained, self._members[0][0])
        ready: list[Callable[[], None]] = []
        while self._members and self._members[0][0] <= self._attained:
            ready.append(heapq.heappop(self._members)[2])
        self._schedule()
        for done in ready:
            done()
