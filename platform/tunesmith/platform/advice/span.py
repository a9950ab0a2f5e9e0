"""A number that is known, or known to lie between two: `[low, high]`."""

from __future__ import annotations

from dataclasses import dataclass

MAX_AMOUNT = 1e12
"""Largest number that is taken; beyond it a typing error is likelier than a meaning."""


@dataclass(frozen=True)
class Span:
    """From `low` to `high`; both the same where the number is known."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Half-way between both ends."""
        return self.low + (self.high - self.low) / 2

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def as_json(self) -> float | list[float]:
        """The number, or both ends."""
        return self.low if self.low == self.high else [self.low, self.high]


def parse_span(value: object, *, most: float = MAX_AMOUNT) -> Span:
    """A number, or a list of two, the lower first; each from 0 to `most`.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, Span):
        return value
    if isinstance(value, list):
        if len(value) != 2:
            raise ValueError(f"a range is [low, high], two numbers; this list has {len(value)}")
        low, high = (_number(item, most) for item in value)
        if low > high:
            raise ValueError(f"a range begins with the lower number; {low:g} is above {high:g}")
        return Span(low, high)
    number = _number(value, most)
    return Span(number, number)


def _number(value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        # Not a TypeError: for whoever gave it, it is a value that is not valid.
        raise ValueError("it must be a number, or a range [low, high]")  # noqa: TRY004
    if not 0 <= value <= most:  # NaN is not; float() comes after: an integer may have 1000 digits
        raise ValueError(f"it must be between 0 and {most:g}")
    return float(value)
