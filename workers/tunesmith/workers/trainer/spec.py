"""What one slot trains: everything that decides its result, besides base and data."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from .errors import HyperparameterInvalid
from .recipe import Recipe


@dataclass(frozen=True)
class SlotSpec:
    """One slot's hyperparameters.

    Attributes:
        name: the slot's name in its cohort, such as a job id; it has no influence on the result.
        rank: LoRA rank.
        alpha: LoRA alpha; updates are scaled by alpha / rank.
        learning_rate: AdamW's peak rate.
        n_epochs: passes over the rows.
        batch_size: rows per optimizer step.
        warmup_steps: steps of linear warm-up; linear decay to zero follows.
        seed: decides initial weights, data order and dropout.
        target_modules: last parts of the module names that carry LoRA; empty for every linear
            layer but the output embedding.
        dropout: probability, on LoRA's input.
        weight_decay: AdamW's decoupled decay.
        betas: AdamW's moment decays.
        eps: AdamW's epsilon.
        max_grad_norm: the slot's own gradient is clipped to this norm.
        micro_batch_tokens: most padded tokens in one forward pass; a longer row goes alone. It
            changes memory and speed, and the result by rounding only.
        validate_every: steps between validations besides those at epoch ends; None for none.
    """

    name: str
    rank: int
    alpha: float
    learning_rate: float
    n_epochs: int
    batch_size: int
    warmup_steps: int = 0
    seed: int = 0
    target_modules: tuple[str, ...] = ()
    dropout: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    micro_batch_tokens: int = 2048
    validate_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("rank", "n_epochs", "batch_size", "micro_batch_tokens"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("alpha", "learning_rate", "eps", "max_grad_norm"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "a finite number above 0")
        _require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "at least 0")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "from 0 to below 1")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        _require(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "below 1")
        every = self.validate_every
        _require(every is None or every >= 1, "validate_every", every, "at least 1")

    @classmethod
    def of(cls, recipe: Recipe, *, name: str, seed: int, **others: Any) -> SlotSpec:
        """A resolved recipe as a spec; `others` are further fields of the spec."""
        return cls(
            name=name,
            rank=recipe.rank,
            alpha=recipe.alpha,
            learning_rate=recipe.learning_rate,
            n_epochs=recipe.n_epochs,
            batch_size=recipe.batch_size,
            warmup_steps=recipe.warmup_steps,
            seed=seed,
            **others,
        )

    def decisive(self) -> dict[str, Any]:
        """The fields that decide the result, as JSON values: all but the name."""
        values = dataclasses.asdict(self)
        del values["name"]
        return dict(json.loads(json.dumps(values)))


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise HyperparameterInvalid(name, value, allowed)
