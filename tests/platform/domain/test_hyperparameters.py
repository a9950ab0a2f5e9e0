"""Hyperparameters: a value in its range or "auto", and nothing else whatever is sent."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.hyperparameters import (
    AUTO,
    HYPERPARAMETERS,
    METHODS,
    OPENAI,
    check_hyperparameters,
)

WHOLE = {
    "n_epochs": (1, 50),
    "batch_size": (1, 256),
    "lora_rank": (1, 512),
    "gradient_accumulation_steps": (1, 64),
    "early_stopping_patience": (0, 50),
}
SHARES = {"lora_dropout": 0.9, "weight_decay": 1, "warmup_ratio": 1, "validation_split": 0.5}
POSITIVE = {"learning_rate_multiplier": 10, "beta": 2, "lora_alpha": 1024, "max_grad_norm": 100}
SCHEDULES = ["linear", "cosine", "constant"]
NUMBER = st.one_of(
    st.integers(-2, 600),
    st.floats(-0.5, 3),
    st.floats(),
    st.sampled_from([0, 0.5, 0.9, 1, 2, 10, 50, 64, 100, 256, 512, 1024, 1024.5, 10**400]),
)
NAMES = st.lists(st.sampled_from(["q_proj", "mlp.up", "", "a b", 7, None]), max_size=3)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    NUMBER, st.none(), st.booleans(), st.just(AUTO), st.sampled_from(SCHEDULES), st.text(), NAMES
)


def is_good(name: str, value: Any) -> bool:
    if value is None or value == AUTO:
        return True
    if name == "lr_scheduler_type":
        return value in SCHEDULES
    if name == "target_modules":
        good = isinstance(value, list) and value and set(value) <= {"q_proj", "mlp.up"}
        return bool(good) and len(set(value)) == len(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return False
    if name in WHOLE:
        low, high = WHOLE[name]
        return low <= value <= high and float(value).is_integer()
    if name in SHARES:
        return 0 <= value <= SHARES[name]
    return 0 < value <= POSITIVE[name]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", HYPERPARAMETERS)
@given(value=ANYTHING)
def test_a_value_is_taken_exactly_when_it_is_in_range(method: str, name: str, value: Any) -> None:
    if name in METHODS[method] and is_good(name, value):
        checked = check_hyperparameters({name: value}, "hyperparameters", method)
        wanted = AUTO if value is None else value
        assert checked == {other: wanted if other == name else AUTO for other in METHODS[method]}
        if name in WHOLE and wanted != AUTO:
            assert isinstance(checked[name], int)
    else:
        with pytest.raises(InvalidRequest) as caught:
            check_hyperparameters({name: value}, "hyperparameters", method)
        assert caught.value.param == f"hyperparameters.{name}"
        assert len(caught.value.message) < 600


def test_beta_is_dpos_alone() -> None:
    assert set(METHODS["dpo"]) - set(METHODS["supervised"]) == {"beta"}
    assert set(OPENAI) <= set(METHODS["supervised"])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("n_epochs", 51, 'a whole number from 1 to 50, or "auto"; it is 51'),
        ("learning_rate_multiplier", 0, "a number above 0 to 10"),
        ("weight_decay", math.nan, "a number from 0 to 1"),
        ("lr_scheduler_type", "step", 'one of "linear", "cosine", "constant"'),
        ("target_modules", [], 'a list of 1 to 64 different module names such as "q_proj"'),
        ("target_modules", ["x" * 10_000_000], "it is ['xxxx"),
    ],
)
def test_the_message_names_the_range_and_the_path(name: str, value: Any, says: str) -> None:
    where = "method.supervised.hyperparameters"
    with pytest.raises(InvalidRequest) as caught:
        check_hyperparameters({name: value}, where)
    assert (caught.value.param, caught.value.code) == (f"{where}.{name}", "invalid_hyperparameter")
    assert says in caught.value.message


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="n_epochs") as caught:
        check_hyperparameters({"epochs": 3}, "hyperparameters")
    assert caught.value.code == "unknown_hyperparameter"
