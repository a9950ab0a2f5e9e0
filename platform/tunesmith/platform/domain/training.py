"""What training finds out, as plain values: trainers report them, the platform writes them down."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepMetrics:
    """The figures of one optimizer step. Accuracies are shares, losses nats per token.

    OpenAI's come first, under its names.

    Attributes:
        tokens: tokens trained in this step.
        padding_share: share of the computed positions that held no token of the job.
        reward_margin: DPO: the mean reward of preferred less that of rejected answers.
        reward_accuracy: DPO: the share of pairs in which the preferred answer had more reward.
    """

    step: int
    total_steps: int
    train_loss: float
    train_mean_token_accuracy: float
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    padding_share: float | None = None
    reward_margin: float | None = None
    reward_accuracy: float | None = None

    def message(self) -> str:
        """The sentence that OpenAI's events carry."""
        text = f"Step {self.step}/{self.total_steps}: training loss={self.train_loss:.2f}"
        if self.valid_loss is not None:
            text += f", validation loss={self.valid_loss:.2f}"
        if self.full_valid_loss is not None:
            text += f", full validation loss={self.full_valid_loss:.2f}"
        return text

    def data(self) -> dict[str, Any]:
        """The figures that are there, and finite: JSON has no other numbers."""
        return finite(vars(self))


@dataclass(frozen=True)
class Prepared:
    """What reading the files found out: `auto` resolved, and notes for the tenant.

    `held_out_key` is where the examples lie that were held out of the training file, if any were.
    """

    hyperparameters: dict[str, Any]
    recipe: dict[str, Any]
    total_steps: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    held_out_key: str | None = None


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter that lies in storage."""

    digest: str
    rank: int
    bytes: int


def finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Those figures that are there and finite: JSON has no other numbers."""
    return {
        name: value
        for name, value in figures.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }
