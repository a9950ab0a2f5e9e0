"""The `auto` recipe: hyperparameters from the base's shape and the size of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .adapter import AdapterConfig
from .base import BaseShape
from .errors import HyperparameterInvalid
from .lora import target_suffixes
from .schedule import Schedule
from .spec import Method

Auto = Literal["auto"]

ALPHA = 32.0
"""LoRA alpha. Held constant so that the best learning rate hardly depends on the rank."""

_DEFAULT_RANK = 32
_WARMUP_SHARE = 0.05
_MOST_BATCH_TOKENS = 65_536
_EPOCHS = (1, 50)
_BATCH = (1, 256)
_MULTIPLIER = 10.0
_DPO_RATE = 1 / 50


@dataclass(frozen=True)
class DataSize:
    """What a recipe needs to know of the training rows.

    Attributes:
        rows: training items: sequences, or pairs of them.
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
        hyperparameters: every one by its name in the API, nothing open.
        spec: fields of `SlotSpec`, as JSON values.
        total_steps: optimizer steps in all.
        explanation: one or two sentences for the user.
    """

    hyperparameters: dict[str, Any]
    spec: dict[str, Any]
    total_steps: int
    explanation: str


def resolve(
    data: DataSize,
    base: BaseShape,
    *,
    method: Method = "supervised",
    validated: bool = False,
    max_rank: int = 32,
    parent: AdapterConfig | None = None,
    n_epochs: int | Auto = "auto",
    batch_size: int | Auto = "auto",
    learning_rate_multiplier: float | Auto = "auto",
    beta: float | Auto = "auto",
    lora_rank: int | Auto = "auto",
    lora_alpha: float | Auto = "auto",
    lora_dropout: float | Auto = "auto",
    target_modules: Sequence[str] | Auto = "auto",
    weight_decay: float | Auto = "auto",
    warmup_ratio: float | Auto = "auto",
    lr_scheduler_type: Schedule | Auto = "auto",
    max_grad_norm: float | Auto = "auto",
    gradient_accumulation_steps: int | Auto = "auto",
    early_stopping_patience: int | Auto = "auto",
) -> Recipe:
    """Fill in what is `auto` and check what is given.

    Args:
        data: size of the training items; at least one with a learned token.
        base: shape of the base.
        method: "supervised" or "dpo".
        validated: whether there are validation items, so that training can stop early.
        max_rank: the largest LoRA rank that the engines serve.
        parent: the adapter to continue from; it decides rank, alpha and targets.
        n_epochs: 1 to 50; `_automatic_epochs`.
        batch_size: 1 to 256 items; `_automatic_batch`.
        learning_rate_multiplier: above 0, at most 10, on `automatic_learning_rate`; 1.
        beta: DPO's; 0.1 (arXiv 2305.18290).
        lora_rank: 1 to `max_rank`; `_automatic_rank`.
        lora_alpha: 32.
        lora_dropout: 0; little data is better served by stopping early.
        target_modules: every linear layer ("LoRA Without Regret", 2025: attention alone does worse
            even with as many parameters).
        weight_decay: 0.
        warmup_ratio: 0.05 of the steps, at least one.
        lr_scheduler_type: "linear".
        max_grad_norm: 1.
        gradient_accumulation_steps: 1; memory never asks for it, since batches are cut anyway.
        early_stopping_patience: 3 validations where there are any; 0 for none.

    Raises:
        HyperparameterInvalid: out of range; the message names the range.
    """
    if data.rows < 1 or data.learned_tokens < 1:
        raise HyperparameterInvalid("training data", data, "at least one row with a learned token")
    modules = () if target_modules == "auto" else tuple(target_modules)
    if parent is not None:
        rank, alpha, modules = parent.rank, parent.alpha, parent.target_modules
    else:
        rank = _automatic_rank(data, base, max_rank) if lora_rank == "auto" else lora_rank
        alpha = ALPHA if lora_alpha == "auto" else lora_alpha
    _check_integer("lora_rank", rank, (1, max_rank))
    targets = target_suffixes(base, modules)
    epochs = _automatic_epochs(data, method) if n_epochs == "auto" else n_epochs
    _check_integer("n_epochs", epochs, _EPOCHS)
    batch = _automatic_batch(data) if batch_size == "auto" else batch_size
    _check_integer("batch_size", batch, _BATCH)
    multiplier = 1.0 if learning_rate_multiplier == "auto" else learning_rate_multiplier
    _check_multiplier(multiplier)
    accumulation = 1 if gradient_accumulation_steps == "auto" else gradient_accumulation_steps
    _check_integer("gradient_accumulation_steps", accumulation, (1, 64))
    patience = 3 if early_stopping_patience == "auto" else early_stopping_patience
    _check_integer("early_stopping_patience", patience, (0, 50))
    patience = patience if validated else 0
    warmup = _WARMUP_SHARE if warmup_ratio == "auto" else warmup_ratio
    rate = automatic_learning_rate(base, method) * float(multiplier)
    total = epochs * math.ceil(data.rows / (batch * accumulation))
    spec = {
        "method": method,
        "rank": rank,
        "alpha": alpha,
        "target_modules": list(targets),
        "dropout": 0.0 if lora_dropout == "auto" else lora_dropout,
        "learning_rate": rate,
        "schedule": "linear" if lr_scheduler_type == "auto" else lr_scheduler_type,
        "warmup_steps": max(1, round(warmup * total)) if warmup else 0,
        "n_epochs": epochs,
        "batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "weight_decay": 0.0 if weight_decay == "auto" else weight_decay,
        "max_grad_norm": 1.0 if max_grad_norm == "auto" else max_grad_norm,
        "beta": 0.1 if beta == "auto" else beta,
        # Few epochs would leave early stopping nothing to go by.
        "validate_every": max(1, total // 8) if validated and epochs <= 2 else None,
        "patience": patience or None,
        "keep_best": validated,
    }
    hyperparameters: dict[str, Any] = {
        "n_epochs": epochs,
        "batch_size": batch,
        "learning_rate_multiplier": float(multiplier),
        "lora_rank": rank,
        "lora_alpha": alpha,
        "lora_dropout": spec["dropout"],
        "target_modules": list(targets),
        "weight_decay": spec["weight_decay"],
        "warmup_ratio": warmup,
        "lr_scheduler_type": spec["schedule"],
        "max_grad_norm": spec["max_grad_norm"],
        "gradient_accumulation_steps": accumulation,
        "early_stopping_patience": patience,
    }
    if method == "dpo":
        hyperparameters["beta"] = spec["beta"]
    kind = "pairs" if method == "dpo" else "rows"
    explanation = (
        f"{data.rows} {kind} with {data.learned_tokens} learned tokens:"
        f" {epochs} epoch{'s'[: epochs != 1]} in batches of {batch * accumulation} ({total} steps),"
        f" learning rate {rate:.2e} at hidden size {base.hidden_size}, LoRA rank {rank}"
        f" ({base.lora_parameters(rank, targets):,} parameters on {len(targets)} kinds of layers)."
    )
    if patience:
        explanation += (
            f" Training stops after {patience} validations that are no better than the best, and"
            " the best is kept."
        )
    return Recipe(hyperparameters, spec, total, explanation)


def automatic_learning_rate(base: BaseShape, method: Method = "supervised") -> float:
    """Peak LoRA learning rate: 5e-5 * 10 * (2000 / hidden_size) ** p.

    LoRA wants about ten times the rate of full fine-tuning. p = 0.781 for Llama, 0.0775 for Qwen
    (Thinking Machines Lab, "LoRA Without Regret", 2025, and its cookbook). Mistral's layers are
    Llama's. For any other family, the exponent that gives the lower rate. DPO wants a fiftieth:
    1e-5 at hidden size 2000, where its authors' and TRL's recipes for LoRA lie.
    """
    if base.model_type.startswith(("llama", "mistral")):
        exponent = 0.781
    elif base.model_type.startswith("qwen"):
        exponent = 0.0775
    else:
        exponent = 0.781 if base.hidden_size > 2000 else 0.0775
    share = _DPO_RATE if method == "dpo" else 1.0
    return float(share * 5e-5 * 10 * (2000 / base.hidden_size) ** exponent)


def _automatic_rank(data: DataSize, base: BaseShape, max_rank: int) -> int:
    """32, or the next doublings while the adapter has fewer parameters than there is to learn."""
    _check_integer("max_rank", max_rank, (1, 1 << 20))
    rank = _DEFAULT_RANK
    while rank * 2 <= max_rank and base.lora_parameters(rank) < data.learned_tokens:
        rank *= 2
    return min(rank, max_rank)


def _automatic_epochs(data: DataSize, method: Method) -> int:
    """8 at 480 rows, falling with the 0.3th power: 25 at 10, 13 at 100, 3 at 10 000, 2 at 100 000.

    Steps then grow from about 250 to a thousand while every row is seen as often as it needs. Pairs
    at most three times: preferences are overfitted quickly.
    """
    epochs = min(25, max(1, round(8 * math.pow(480 / data.rows, 0.3))))
    return min(3, epochs) if method == "dpo" else epochs


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
