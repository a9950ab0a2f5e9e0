"""The hyperparameters of each method: OpenAI's and extensions, each in its range, or "auto"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import InvalidRequest

Auto = Literal["auto"]
AUTO: Auto = "auto"
Value = int | float | str | list[str]


@dataclass(frozen=True)
class Range:
    """A number from `low` (excluded where `open_low`) to `high`, whole or not."""

    low: float
    high: float
    whole: bool = False
    open_low: bool = False

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"from {self.low:g}"
        return f"{'a whole number' if self.whole else 'a number'} {low} to {self.high:g}"

    def take(self, value: object) -> int | float | None:
        """`value` when it is a number of this range, else None."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if self.whole and value != int(value):
            return None
        if not (self.low < value if self.open_low else self.low <= value) or value > self.high:
            return None
        return int(value) if self.whole else float(value)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(f'"{word}"' for word in self.words)

    def take(self, value: object) -> str | None:
        """`value` when it is one of the words, else None."""
        return value if isinstance(value, str) and value in self.words else None


@dataclass(frozen=True)
class Modules:
    """Names of a base's linear layers, such as "q_proj"; each once."""

    most: int = 64

    def __str__(self) -> str:
        return f'a list of 1 to {self.most} different module names such as "q_proj"'

    def take(self, value: object) -> list[str] | None:
        """`value` when it is such a list, else None."""
        if not isinstance(value, list) or not 1 <= len(value) <= self.most:
            return None
        if not all(isinstance(name, str) and _MODULE.fullmatch(name) for name in value):
            return None
        return list(value) if len(set(value)) == len(value) else None


_MODULE = re.compile(r"[A-Za-z0-9_.]{1,128}")

OPENAI = ("n_epochs", "batch_size", "learning_rate_multiplier")
"""Those that OpenAI shows of every supervised job."""

HYPERPARAMETERS: dict[str, Range | Choice | Modules] = {
    "n_epochs": Range(1, 50, whole=True),
    "batch_size": Range(1, 256, whole=True),
    "learning_rate_multiplier": Range(0, 10, open_low=True),
    "beta": Range(0, 2, open_low=True),
    "lora_rank": Range(1, 512, whole=True),
    "lora_alpha": Range(0, 1024, open_low=True),
    "lora_dropout": Range(0, 0.9),
    "target_modules": Modules(),
    "weight_decay": Range(0, 1),
    "warmup_ratio": Range(0, 1),
    "lr_scheduler_type": Choice(("linear", "cosine", "constant")),
    "max_grad_norm": Range(0, 100, open_low=True),
    "gradient_accumulation_steps": Range(1, 64, whole=True),
    "early_stopping_patience": Range(0, 50, whole=True),
    "validation_split": Range(0, 0.5),
}
"""What each may be. Those after `beta` are extensions of OpenAI's API."""

METHODS: dict[str, tuple[str, ...]] = {
    "supervised": tuple(name for name in HYPERPARAMETERS if name != "beta"),
    "dpo": tuple(HYPERPARAMETERS),
}
"""The methods there are, and the hyperparameters of each."""


def check_hyperparameters(
    given: Mapping[str, Any] | None, where: str, method: str = "supervised"
) -> dict[str, Value]:
    """All hyperparameters of `method`, "auto" where not given.

    Args:
        given: the client's values.
        where: the parameter's path in the request, for the message.
        method: one of `METHODS`.

    Raises:
        InvalidRequest: an unknown name, or a value out of its range; the message names the range.
    """
    given = given or {}
    known = METHODS[method]
    for name in given:
        if name not in known:
            others = [other for other, names in METHODS.items() if name in names]
            what = f"a hyperparameter of {others[0]} alone" if others else "no hyperparameter here"
            raise InvalidRequest(
                f"`{where}.{name}` is {what}; {method} has {', '.join(sorted(known))}.",
                param=f"{where}.{name}",
                code="unknown_hyperparameter",
            )
    checked: dict[str, Value] = {}
    for name in known:
        value = given.get(name)
        taken = AUTO if value is None or value == AUTO else HYPERPARAMETERS[name].take(value)
        if taken is None:
            raise InvalidRequest(
                f'`{where}.{name}` must be {HYPERPARAMETERS[name]}, or "auto"; it is'
                f" {repr(value)[:80]}.",
                param=f"{where}.{name}",
                code="invalid_hyperparameter",
            )
        checked[name] = taken
    return checked
