"""The `auto` recipe: hyperparameters from the base's shape and the size of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .base import BaseShape
from .errors import HyperparameterInvalid

Auto = Literal["auto"]

ALPHA = 32.0
"""LoRA alpha. Held constant so that the best learning rate hardly depends on the rank."""

_DEFAULT_RANK = 32
_WARMUP_SHARE = 0.05
_MOST_BATCH_TOKENS = 65_536
_EPOCHS = (1, 50)
_BATCH = (1, 256)
_MULTIPLIER = 10.0


@dataclass(frozen=True)
class DataSize:
    """What a recipe needs to know of the training rows.

    Attributes:
        rows: training sequences.
        tokens: all their tokens.
        learned_tokens: tokens with loss, that is, completion tokens.
    """

    rows: int
    tokens: int
    learned_tokens: int


@dataclass(frozen=True)
class Recipe:
    """Resolved hyperparameters.

    Attributes:
        n_epochs: passes over the data.
        batch_size: rows per optimizer step; the last step of an epoch may have fewer.
        learning_rate_multiplier: factor on the automatic learning rate.
        learning_rate: peak rate of AdamW, multiplier included.
        rank: LoRA rank.
        alpha: LoRA alpha; updates are scaled by alpha / rank.
        warmup_steps: optimizer steps until the peak rate; linear decay to zero follows.
        total_steps: optimizer steps in all.
        explanation: one sentence for the user.
    """

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    rank: int
    alpha: float
    warmup_steps: int
    total_steps: int
    explanation: str


def resolve(
    data: DataSize,
    base: BaseShape,
    *,
    n_epochs: int | Auto = "auto",
    batch_size: int | Auto = "auto",
    learning_rate_multiplier: float | Auto = "auto",
    max_rank: int = 32,
    rank: int | Auto = "auto",
    alpha: float = ALPHA,
) -> Recipe:
    """Fill in what is `auto` and check what is given.

    Args:
        data: size of the training rows; at least one row with a learned token.
        base: shape of the base.
        n_epochs: 1 to 50.
        batch_size: 1 to 256 rows.
        learning_rate_multiplier: above 0, at most 10.
        max_rank: the largest LoRA rank that the engines serve.
        rank: fixed rank, such as that of an adapter to continue from.
        alpha: the alpha that goes with it.

    Raises:
        HyperparameterInvalid: out of range; the message names the range.
    """
    if data.rows < 1 or data.learned_tokens < 1:
        raise HyperparameterInvalid("training data", data, "at least one row with a learned token")
    chosen_rank = _automatic_rank(data, base, max_rank) if rank == "auto" else rank
    _check_integer("rank", chosen_rank, (1, max_rank))
    epochs = _automatic_epochs(data) if n_epochs == "auto" else n_epochs
    _check_integer("n_epochs", epochs, _EPOCHS)
    batch = _automatic_batch(data) if batch_size == "auto" else batch_size
    _check_integer("batch_size", batch, _BATCH)
    multiplier = 1.0 if learning_rate_multiplier == "auto" else learning_rate_multiplier
    _check_multiplier(multiplier)
    rate = automatic_learning_rate(base) * float(multiplier)
    total = epochs * math.ceil(data.rows / batch)
    return Recipe(
        n_epochs=epochs,
        batch_size=batch,
        learning_rate_multiplier=float(multiplier),
        learning_rate=rate,
        rank=chosen_rank,
        alpha=alpha,
        warmup_steps=max(1, round(_WARMUP_SHARE * total)),
        total_steps=total,
        explanation=(
            f"{data.rows} rows with {data.learned_tokens} learned tokens: "
            f"{epochs} epoch{'s'[: epochs != 1]} in batches of {batch} ({total} steps), "
            f"learning rate {rate:.2e} at hidden size {base.hidden_size}, LoRA rank {chosen_rank}."
        ),
    )


def automatic_learning_rate(base: BaseShape) -> float:
    """Peak LoRA learning rate: 5e-5 * 10 * (2000 / hidden_size) ** p.

    LoRA wants about ten times the rate of full fine-tuning. p = 0.781 for Llama, 0.0775 for Qwen
    (Thinking Machines Lab, "LoRA Without Regret", 2025, and its cookbook). Mistral's layers are
    Llama's. For any other family, the exponent that gives the lower rate.
    """
    if base.model_type.startswith(("llama", "mistral")):
        exponent = 0.781
    elif base.model_type.startswith("qwen"):
        exponent = 0.0775
    else:
        exponent = 0.781 if base.hidden_size > 2000 else 0.0775
    return float(5e-5 * 10 * (2000 / base.hidden_size) ** exponent)


def _automatic_rank(data: DataSize, base: BaseShape, max_rank: int) -> int:
    """32, or the next doublings while the adapter has fewer parameters than there is to learn."""
    _check_integer("max_rank", max_rank, (1, 1 << 20))
    rank = _DEFAULT_RANK
    while rank * 2 <= max_rank and base.lora_parameters(rank) < data.learned_tokens:
        rank *= 2
    return min(rank, max_rank)


def _automatic_epochs(data: DataSize) -> int:
    """8 at 480 rows, falling with the 0.3th power: 25 at 10, 13 at 100, 3 at 10 000, 2 at 100 000.

    Steps then grow from about 250 to a thousand while every row is seen as often as it needs.
    """
    return min(25, max(1, round(8 * math.pow(480 / data.rows, 0.3))))


def _automatic_batch(data: DataSize) -> int:
    """The power of two next to sqrt(rows) / 2.74: 1 at 10 rows, 8 at 480, 32 from 4 000 on.

    LoRA bears large batches worse than full fine-tuning does, hence the cap; a batch of long rows
    is halved until it has at most 65 536 tokens.
    """
    batch = min(32, 1 << round(math.log2(max(1.0, math.sqrt(data.rows) / 2.74))))
    while batch > 1 and batch * data.tokens / data.rows > _MOST_BATCH_TOKENS:
        batch //= 2
    return batch


def _check_integer(name: str, value: object, bounds: tuple[int, int]) -> None:
    low, high = bounds
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise HyperparameterInvalid(name, value, f"an integer from {low} to {high}")


def _check_multiplier(value: object) -> None:
    name = "learning_rate_multiplier"
    allowed = f"a number above 0 and at most {_MULTIPLIER:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise HyperparameterInvalid(name, value, allowed)
    if not 0 < value <= _MULTIPLIER:  # refuses NaN too
        raise HyperparameterInvalid(name, value, allowed)
