"""How often something is asked for, with the past forgotten exponentially."""

from __future__ import annotations

from math import exp, log


class Heat:
    """A count of events that halves every `half_life` seconds.

    Divided by the time constant it estimates the rate of a Poisson process without bias.
    """

    __slots__ = ("_at", "_count", "_tau")

    def __init__(self, half_life: float, now: float) -> None:
        self._tau = half_life / log(2.0)
        self._count = 0.0
        self._at = now

    def add(self, now: float, events: int = 1) -> None:
        """So many more events, about now."""
        self._count = self._count * exp((self._at - now) / self._tau) + events
        self._at = now

    def rate(self, now: float) -> float:
        """Events a second."""
        return self._count * exp((self._at - now) / self._tau) / self._tau
