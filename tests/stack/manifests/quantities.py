"""Kubernetes' quantities and durations as numbers."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation

from .fields import NotUnderstood

_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}


def quantity(text: str | int | float) -> Decimal:
    """`1500m`, `2Gi` or `3` as a number: cores, bytes or devices.

    Raises:
        NotUnderstood: it is none.
    """
    written = str(text)
    digits = written.rstrip("mkMGTPEKi")
    try:
        return Decimal(digits) * _SUFFIXES[written[len(digits) :]]
    except (InvalidOperation, KeyError):
        raise NotUnderstood(f"{text!r} is no quantity of Kubernetes.") from None


def whole(text: str | int | float) -> int:
    """A quantity rounded up to a whole number, as Go's `Quantity.Value()` does."""
    return math.ceil(quantity(text))


def share(text: str | int, of: int, *, up: bool) -> int:
    """A number of pods, or a percentage of `of`: maxSurge is rounded up, maxUnavailable down."""
    if isinstance(text, int):
        return text
    if not text.endswith("%"):
        raise NotUnderstood(f"{text!r} is neither a number nor a percentage.")
    exact = of * int(text[:-1]) / 100
    return math.ceil(exact) if up else math.floor(exact)
