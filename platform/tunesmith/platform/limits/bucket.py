"""The arithmetic of a token bucket, the same for every store.

A bucket of a limit a minute holds at most the limit and gains a sixtieth of it a second. It starts
full. A debt (what was used beyond what was taken) puts it below zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

MINUTE = 60.0


class Bucket(NamedTuple):
    """What was in a bucket at a moment, in seconds of one clock."""

    level: float
    updated_at: float


class Grant(NamedTuple):
    """What was granted, whole units, and what the bucket holds after it."""

    granted: int
    level: float


class Wish(NamedTuple):
    """What a gateway asks of a bucket.

    Args:
        wanted: the most that it takes.
        needed: less than this is of no use to it: then it gets nothing, and others may have it.
        returned: what it gives back of earlier grants; negative: a debt. Comes before the taking.
    """

    wanted: int
    needed: int = 0
    returned: float = 0.0


def grant(bucket: Bucket | None, moment: float, limit: float, wish: Wish) -> tuple[Grant, Bucket]:
    """Fill up to `moment`, take back what is returned, and grant what there is of the wish.

    Args:
        bucket: None for one that was never used.
        limit: units a minute, and the most that it holds. A lower limit than before cuts it.
    """
    level, updated_at = bucket or Bucket(limit, moment)
    moment = max(moment, updated_at)  # a clock that was set back gives nothing twice
    # Filled first: what runs over is lost, and pays no debt.
    level = min(limit, level + (moment - updated_at) * limit / MINUTE)
    level = min(limit, level + wish.returned)
    granted = math.floor(min(wish.wanted, level)) if level >= max(wish.needed, 1) else 0
    return Grant(granted, level - granted), Bucket(level - granted, moment)
