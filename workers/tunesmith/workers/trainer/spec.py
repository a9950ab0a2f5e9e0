"""What one slot trains: everything that decides its result, besides base and data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import HyperparameterInvalid
from .schedule import Schedule

Method = Literal["supervised", "dpo"]


@dataclass(frozen=True)
class SlotSpec:
    """One slot's hyperparameters.

    Attributes:
        name: the slot's name in its cohort, such as a job id; it has no influence on the result.
        rank: LoRA rank.
        alpha: LoRA alpha; updates are scaled by alpha / rank.
        learning_rate: AdamW's peak rate.
        n_epochs: passes over the rows.
        batch_size: items (rows, or pairs) per optimizer step and accumulation step.
        gradient_accumulation_steps: batches whose gradients make one optimizer step.
        schedule: "linear" or "cosine" decay to zero after the warm-up, or "constant".
        warmup_steps: steps of linear warm-up.
        seed: decides initial weights, data order and dropout.
        target_modules: last parts of the module names that carry LoRA; empty for every linear
            layer but the output embedding.
        dropout: probability, on LoRA's input.
        weight_decay: AdamW's decoupled decay.
        betas: AdamW's moment decays.
        eps: AdamW's epsilon.
        max_grad_norm: the slot's own gradient is clipped to this norm.
        method: "supervised" learns the marked tokens; "dpo" to prefer one answer to another.
        beta: DPO's; how strongly the model is held to the one that it started from.
        validate_every: steps between validations besides those at epoch ends; None for none.
        patience: training stops when this many validations in a row were no better than the best;
            None to train to the end.
        keep_best: whether the result is the adapter with the lowest validation loss.
    """

    name: str
    rank: int
    alpha: float
    learning_rate: float
    n_epochs: int
    batch_size: int
    gradient_accumulation_steps: int = 1
    schedule: Schedule = "linear"
    warmup_steps: int = 0
    seed: int = 0
    target_modules: tuple[str, ...] = ()
    dropout: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    method: Method = "supervised"
    beta: float = 0.1
    validate_every: int | None = None
    patience: int | None = None
    keep_best: bool = True

    def __post_init__(self) -> None:
        for name in ("rank", "n_epochs", "batch_size", "gradient_accumulation_steps"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("alpha", "learning_rate", "eps", "max_grad_norm", "beta"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "a finite number above 0")
        _require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "at least 0")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "from 0 to below 1")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        _require(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "below 1")
        for name in ("validate_every", "patience"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1")
        for name, known in (("schedule", Schedule), ("method", Method)):
            value = getattr(self, name)
            _require(value in get_args(known), name, value, f"one of {get_args(known)}")

    @classmethod
    def of(cls, fields: Mapping[str, Any], *, name: str, seed: int) -> SlotSpec:
        """From fields that may have been JSON, such as a recipe's `spec`."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        return cls(name=name, seed=seed, **values)

    @property
    def items_per_step(self) -> int:
        """Items per optimizer step; the last step of an epoch takes what is left."""
        return self.batch_size * self.gradient_accumulation_steps

    def decisive(self) -> dict[str, Any]:
        """The fields that decide the result, as JSON values: all but the name."""
        values = dataclasses.asdict(self)
        del values["name"]
        return dict(json.loads(json.dumps(values)))


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise HyperparameterInvalid(name, value, allowed)
