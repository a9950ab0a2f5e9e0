"""Rendezvous hashing: which engines are an adapter's homes, without anyone having to agree.

Every gateway ranks the engines for a digest in the same way (Thaler and Ravishankar 1998): an
engine that joins takes over only the adapters that it ranks first for, one that leaves gives up
only its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from .engine import Engine

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd: the multiplier of Fibonacci hashing


def weight(url: str, digest: str) -> int:
    """64 bits that depend on both and look random."""
    return int.from_bytes(blake2b(f"{url}\0{digest}".encode(), digest_size=8).digest())


def ranked(engines: Iterable[Engine], digest: str) -> tuple[Engine, ...]:
    """The engines, an adapter's first home first."""
    return tuple(sorted(engines, key=lambda engine: weight(engine.url, digest), reverse=True))


def nearness(engine: Engine, affinity: int) -> int:
    """How near a prompt's prefix is to an engine; cheap, for it is worked out per request."""
    mixed = (engine.seed ^ affinity) * _GOLDEN & _MASK
    return (mixed ^ (mixed >> 32)) * _GOLDEN & _MASK
