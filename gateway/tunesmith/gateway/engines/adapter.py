"""An adapter as routing sees it: how much it is asked for, and how many homes that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from .engine import Engine
from .hashing import ranked
from .heat import Heat

_HOT_HALF_LIFE = 10.0
_KEEP_HALF_LIFE = 1800.0
"""Seconds: a new home follows the traffic of seconds; what stays in memory, that of half an hour,
since an adapter that is asked for once in a minute is worth keeping."""

SHARE = 0.25
"""Traffic worth one home, as a share of what an engine takes on average."""
LEAST_RATE = 1.0
"""Requests a second that one home always takes: below, more homes would only be more copies."""
SHRINK_BELOW = 0.8
SHRINK_SECONDS = 30.0
"""A home is given up when the others would be at this share of their traffic for so long."""
WORTH_SPREADING = 0.5
"""Requests a second below which an adapter's second home takes nothing off its first."""
SPREAD_SECONDS = 300.0
"""How long a home stays that was added to take load off another engine."""


class Adapter:
    """The adapter `digest` on `base`.

    Attributes:
        homes: how many engines its traffic is worth (k), with those that `spread` added.
        sent: requests since the last `count`, which the hot path adds to.
        forgotten: it was deleted.
    """

    __slots__ = (
        "_added",
        "_added_until",
        "_cool_since",
        "_hot",
        "_kept",
        "_own",
        "_ranked",
        "_version",
        "base",
        "digest",
        "forgotten",
        "homes",
        "sent",
    )

    def __init__(self, base: str, digest: str, now: float) -> None:
        self.base = base
        self.digest = digest
        self.homes = 1
        self.sent = 0
        self.forgotten = False
        self._hot = Heat(_HOT_HALF_LIFE, now)
        self._kept = Heat(_KEEP_HALF_LIFE, now)
        self._own = 1
        self._cool_since = now
        self._added = 0
        self._added_until = now
        self._ranked: tuple[Engine, ...] = ()
        self._version = -1

    def count(self, now: float) -> None:
        """Have what was sent since the last count in its rates."""
        self._hot.add(now, self.sent)
        self._kept.add(now, self.sent)
        self.sent = 0

    def rate(self, now: float) -> float:
        """Requests a second of late."""
        return self._hot.rate(now)

    def worth(self, now: float) -> float:
        """Requests a second over minutes: what keeping it in memory is worth."""
        return self._kept.rate(now)

    def ranked(self, fleet: Sequence[Engine], version: int) -> tuple[Engine, ...]:
        """The engines of `fleet`, its first home first; worked out anew when `version` changes."""
        if version != self._version:
            self._ranked = ranked(fleet, self.digest)
            self._version = version
        return self._ranked

    def resize(self, now: float, home_rate: float, most: int) -> None:
        """Have as many homes as the traffic is worth: more at once, fewer one at a time and late.

        Args:
            home_rate: requests a second that are worth one home.
            most: how many engines there are.
        """
        rate = self.rate(now)
        wanted = min(max(1, ceil(rate / home_rate)), max(1, most))
        if wanted >= self._own or self._own > most or rate >= self._enough(home_rate):
            self._own = max(wanted, min(self._own, most))
            self._cool_since = now
        elif now - self._cool_since >= SHRINK_SECONDS:
            self._own -= 1
            self._cool_since = now
        if self._added and (now >= self._added_until or rate < WORTH_SPREADING):
            self._added -= 1
            self._added_until = now + SPREAD_SECONDS
        self.homes = max(1, min(self._own + self._added, most))

    def _enough(self, home_rate: float) -> float:
        return SHRINK_BELOW * (self._own - 1) * home_rate

    def spread(self, now: float) -> None:
        """Have one home more, for an engine that it loads has more than its share."""
        self._added += 1
        self._added_until = now + SPREAD_SECONDS
        self.homes += 1
