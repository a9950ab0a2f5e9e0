"""Turns to start: a cluster has cores for all pods at once, this machine has a few.

Started together, vLLM, Ray and the rest take so long from each other that Ray's own time for a
start (30 s) runs out.
"""

from __future__ import annotations

import os
import threading
import time

_LONGEST = 60.0
"""Seconds after which a start that is not over gives its turn away: others may be what it waits
for."""


class Turns:
    """As many starts at once as there are cores."""

    def __init__(self, at_once: int = max(2, os.cpu_count() or 1)) -> None:
        self._free = threading.Semaphore(at_once)

    def take(self, unless: threading.Event) -> Turn | None:
        """Wait for a turn; None when `unless` is set first."""
        while not unless.is_set():
            if self._free.acquire(timeout=0.2):
                return Turn(self._free)
        return None


class Turn:
    """One start."""

    def __init__(self, free: threading.Semaphore) -> None:
        self._free: threading.Semaphore | None = free
        self._until = time.monotonic() + _LONGEST

    def over(self, *, started: bool) -> None:
        """Give it away, if the start is over or has taken too long."""
        if self._free is not None and (started or time.monotonic() > self._until):
            self._free.release()
            self._free = None
