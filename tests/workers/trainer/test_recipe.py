"""What `auto` chooses, and which explicit values are refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.workers.trainer.adapter import AdapterConfig
from tunesmith.workers.trainer.base import BaseShape
from tunesmith.workers.trainer.errors import HyperparameterInvalid
from tunesmith.workers.trainer.recipe import DataSize, automatic_learning_rate, resolve
from tunesmith.workers.trainer.spec import SlotSpec


def shape(model_type: str = "llama", hidden: int = 256, layers: int = 4) -> BaseShape:
    linears = {
        f"model.layers.{layer}.{name}": (hidden, hidden)
        for layer in range(layers)
        for name in ("q_proj", "v_proj")
    }
    return BaseShape(model_type, hidden, linears)


def data(rows: int, tokens_per_row: int = 60, learned_per_row: int = 10) -> DataSize:
    return DataSize(rows, rows * tokens_per_row, rows * learned_per_row)


@pytest.mark.parametrize(
    ("rows", "epochs", "batch"),
    [(1, 25, 1), (10, 25, 1), (50, 16, 2), (100, 13, 4), (480, 8, 8), (1000, 6, 16),
     (4000, 4, 32), (10_000, 3, 32), (100_000, 2, 32)],
)  # fmt: skip
def test_epochs_and_batch_by_rows(rows: int, epochs: int, batch: int) -> None:
    recipe = resolve(data(rows), shape())
    assert (recipe.spec["n_epochs"], recipe.spec["batch_size"]) == (epochs, batch)
    assert recipe.total_steps == epochs * math.ceil(rows / batch)
    assert 1 <= recipe.spec["warmup_steps"] <= 0.06 * recipe.total_steps + 1


@pytest.mark.parametrize(
    ("model_type", "hidden", "rate"),
    [("llama", 2000, 5e-4), ("llama", 4096, 2.857e-4), ("llama", 256, 2.4896e-3),
     ("mistral", 4096, 2.857e-4), ("qwen2", 4096, 4.7298e-4), ("qwen3", 1024, 5.2663e-4),
     ("gemma3_text", 4096, 2.857e-4), ("gemma3_text", 640, 5.4615e-4)],
)  # fmt: skip
def test_learning_rate_by_family_and_width(model_type: str, hidden: int, rate: float) -> None:
    assert automatic_learning_rate(shape(model_type, hidden)) == pytest.approx(rate, rel=1e-3)


def test_the_multiplier_multiplies() -> None:
    base = shape()
    plain = resolve(data(480), base)
    double = resolve(data(480), base, learning_rate_multiplier=2)
    assert plain.hyperparameters["learning_rate_multiplier"] == 1.0
    assert plain.spec["learning_rate"] == automatic_learning_rate(base)
    assert double.spec["learning_rate"] == 2 * plain.spec["learning_rate"]


def test_rank_is_32_unless_engines_serve_less_or_there_is_more_to_learn() -> None:
    base = shape()
    assert base.lora_parameters(32) == 4 * 2 * 512 * 32
    assert resolve(data(480), base, max_rank=64).spec["rank"] == 32
    assert resolve(data(480), base, max_rank=16).spec["rank"] == 16
    assert resolve(data(480), base, max_rank=20).spec["rank"] == 20
    much = DataSize(10_000, 2_000_000, 250_000)
    assert resolve(much, base, max_rank=32).spec["rank"] == 32
    assert resolve(much, base, max_rank=64).spec["rank"] == 64
    assert resolve(much, base, max_rank=512).spec["rank"] == 64  # 262 144 parameters are enough
    assert resolve(data(480), base, max_rank=64, lora_rank=8).spec["rank"] == 8


def test_long_rows_get_smaller_batches() -> None:
    assert resolve(data(480, tokens_per_row=60), shape()).spec["batch_size"] == 8
    assert resolve(data(480, tokens_per_row=30_000), shape()).spec["batch_size"] == 2
    assert resolve(data(480, tokens_per_row=200_000), shape()).spec["batch_size"] == 1


def test_explicit_values_are_taken_and_explained() -> None:
    recipe = resolve(data(480), shape(), n_epochs=3, batch_size=16)
    assert recipe.hyperparameters["n_epochs"] == 3
    assert recipe.hyperparameters["batch_size"] == 16
    assert recipe.total_steps == 90
    for fact in ("480 rows", "4800 learned tokens", "3 epochs", "16", "90 steps", "rank 32"):
        assert fact in recipe.explanation
    assert "1 epoch in" in resolve(data(480), shape(), n_epochs=1).explanation
    spec = SlotSpec.of(json.loads(json.dumps(recipe.spec)), name="job", seed=5)
    assert (spec.n_epochs, spec.batch_size, spec.rank, spec.seed) == (3, 16, 32, 5)
    assert spec.target_modules == ("q_proj", "v_proj")


def test_every_hyperparameter_reaches_the_spec() -> None:
    given: dict[str, Any] = {
        "n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 3.0, "beta": 0.3,
        "lora_rank": 8, "lora_alpha": 16.0, "lora_dropout": 0.1, "target_modules": ["q_proj"],
        "weight_decay": 0.01, "warmup_ratio": 0.5, "lr_scheduler_type": "cosine",
        "max_grad_norm": 0.3, "gradient_accumulation_steps": 2, "early_stopping_patience": 5,
    }  # fmt: skip
    recipe = resolve(data(480), shape(), method="dpo", validated=True, **given)
    assert recipe.hyperparameters == given
    assert recipe.total_steps == 2 * 60
    spec = SlotSpec.of(recipe.spec, name="job", seed=0)
    assert spec == SlotSpec(
        name="job", rank=8, alpha=16.0, learning_rate=recipe.spec["learning_rate"], n_epochs=2,
        batch_size=4, gradient_accumulation_steps=2, schedule="cosine", warmup_steps=60, seed=0,
        target_modules=("q_proj",), dropout=0.1, weight_decay=0.01, max_grad_norm=0.3,
        method="dpo", beta=0.3, validate_every=15, patience=5, keep_best=True,
    )  # fmt: skip
    assert spec.items_per_step == 8


def test_stopping_early_needs_validation() -> None:
    with_it = resolve(data(480), shape(), validated=True)
    without = resolve(data(480), shape())
    off = resolve(data(480), shape(), validated=True, early_stopping_patience=0)
    assert (with_it.spec["patience"], with_it.spec["keep_best"]) == (3, True)
    assert (without.spec["patience"], without.spec["keep_best"]) == (None, False)
    assert (off.spec["patience"], off.spec["keep_best"]) == (None, True)
    assert "after 3 validations" in with_it.explanation
    assert "validations" not in without.explanation + off.explanation


def test_preferences_take_a_fiftieth_of_the_rate_and_few_epochs() -> None:
    supervised, dpo = (resolve(data(480), shape(), method=m) for m in ("supervised", "dpo"))
    assert dpo.spec["learning_rate"] == pytest.approx(supervised.spec["learning_rate"] / 50)
    assert (supervised.spec["n_epochs"], dpo.spec["n_epochs"]) == (8, 3)


def test_a_parent_decides_what_its_adapter_is() -> None:
    parent = AdapterConfig(rank=4, alpha=8.0, target_modules=("v_proj",))
    spec = resolve(data(480), shape(), parent=parent).spec
    assert (spec["rank"], spec["alpha"], spec["target_modules"]) == (4, 8.0, ["v_proj"])


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [("n_epochs", 0, "1 to 50"), ("n_epochs", 51, "1 to 50"), ("n_epochs", 2.5, "1 to 50"),
     ("n_epochs", True, "1 to 50"), ("n_epochs", "3", "1 to 50"),
     ("batch_size", 0, "1 to 256"), ("batch_size", 257, "1 to 256"),
     ("learning_rate_multiplier", 0, "above 0 and at most 10"),
     ("learning_rate_multiplier", -1.0, "above 0 and at most 10"),
     ("learning_rate_multiplier", 10.1, "above 0 and at most 10"),
     ("learning_rate_multiplier", math.nan, "above 0 and at most 10"),
     ("learning_rate_multiplier", "fast", "above 0 and at most 10"),
     ("lora_rank", 64, "1 to 32"), ("gradient_accumulation_steps", 0, "1 to 64"),
     ("early_stopping_patience", 51, "0 to 50"), ("max_rank", 0, "1 to")],
)  # fmt: skip
def test_values_out_of_range_name_the_range(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(HyperparameterInvalid, match=allowed) as refusal:
        resolve(data(480), shape(), **{field: value})
    assert refusal.value.name == field
    assert refusal.value.value is value


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(HyperparameterInvalid):
        resolve(DataSize(0, 0, 0), shape())
    with pytest.raises(HyperparameterInvalid):
        resolve(DataSize(5, 100, 0), shape())


@given(
    rows=st.integers(1, 10**6),
    per_row=st.integers(2, 10**5),
    hidden=st.sampled_from([64, 256, 1024, 4096, 16384]),
    max_rank=st.integers(1, 512),
)
def test_auto_always_gives_a_valid_spec(
    rows: int, per_row: int, hidden: int, max_rank: int
) -> None:
    recipe = resolve(data(rows, per_row, 1), shape(hidden=hidden), max_rank=max_rank)
    assert recipe.spec["rank"] <= max_rank
    assert recipe.spec["warmup_steps"] <= recipe.total_steps
    SlotSpec.of(recipe.spec, name="any", seed=0)
