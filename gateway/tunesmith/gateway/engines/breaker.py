"""The circuit breaker of one engine: one that keeps failing gets no requests for a while."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FAILURES = 5
"""Failures in a row that open it. Envoy's outlier detection ejects a host after 5 as well."""
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
"""The first pause, and what doubling it after each failed try ends at."""


class BreakerState(StrEnum):
    """Whether requests pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Closed, open after `FAILURES` in a row, then half-open: one request tries the engine.

    Times are seconds of any monotonic clock; `next_try` is 0 while closed, so that the hot path
    compares one number. A try whose end is never told, because its client
    went away, counts for one pause; then another request may try.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    pause: float = PAUSE_SECONDS
    next_try: float = 0.0

    def allows(self, now: float) -> bool:
        """Whether a request may go to the engine now."""
        return now >= self.next_try

    def took(self, now: float) -> None:
        """A request goes to the engine."""
        if self.state is not BreakerState.CLOSED:
            self.state = BreakerState.HALF_OPEN
            self.next_try = now + self.pause

    def succeeded(self) -> None:
        """The engine answered a request: all is well."""
        self.state = BreakerState.CLOSED
        self.failures = 0
        self.pause = PAUSE_SECONDS
        self.next_try = 0.0

    def failed(self, now: float) -> None:
        """The engine failed a request.

        While open, what was sent before it opened may still fail: that says nothing new.
        """
        self.failures += 1
        if self.state is BreakerState.HALF_OPEN:
            self.pause = min(2 * self.pause, LONGEST_PAUSE_SECONDS)
        elif self.state is BreakerState.OPEN or self.failures < FAILURES:
            return
        self.state = BreakerState.OPEN
        self.next_try = now + self.pause
