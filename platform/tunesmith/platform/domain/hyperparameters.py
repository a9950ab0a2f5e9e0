"""The hyperparameters of OpenAI's API: a number within its range, or "auto"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import InvalidRequest

Auto = Literal["auto"]
AUTO: Auto = "auto"


@dataclass(frozen=True)
class Range:
    """What a hyperparameter may be: `low` (excluded where `open_low`) to `high`, whole or not."""

    low: float
    high: float
    whole: bool
    open_low: bool = False

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"from {self.low:g}"
        return f"{'a whole number' if self.whole else 'a number'} {low} to {self.high:g}"

    def holds(self, value: object) -> bool:
        """Whether `value` is a number of this range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if self.whole and value != int(value):
            return False
        return (self.low < value if self.open_low else self.low <= value) and value <= self.high


RANGES: dict[str, Range] = {
    "batch_size": Range(1, 256, whole=True),
    "learning_rate_multiplier": Range(0, 10, whole=False, open_low=True),
    "n_epochs": Range(1, 50, whole=True),
}


def check_hyperparameters(
    given: Mapping[str, Any] | None, where: str
) -> dict[str, int | float | Auto]:
    """All hyperparameters, "auto" where not given.

    Args:
        given: the client's values.
        where: the parameter's path in the request, for the message.

    Raises:
        InvalidRequest: an unknown name, or a value out of its range; the message names the range.
    """
    given = given or {}
    for name in given:
        if name not in RANGES:
            raise InvalidRequest(
                f"`{where}.{name}` is not a hyperparameter here; known are"
                f" {', '.join(sorted(RANGES))}.",
                param=f"{where}.{name}",
            )
    checked: dict[str, int | float | Auto] = {}
    for name, allowed in RANGES.items():
        value = given.get(name)
        if value is None or value == AUTO:
            checked[name] = AUTO
        elif allowed.holds(value):
            checked[name] = int(value) if allowed.whole else float(value)
        else:
            raise InvalidRequest(
                f'`{where}.{name}` must be {allowed}, or "auto"; it is {value!r}.',
                param=f"{where}.{name}",
                code="invalid_hyperparameter",
            )
    return checked
