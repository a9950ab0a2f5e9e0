"""Hyperparameters: a number within its range or "auto", and nothing else whatever is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.hyperparameters import AUTO, RANGES, check_hyperparameters

ANYTHING: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([])
)


@given(st.dictionaries(st.sampled_from(sorted(RANGES)), ANYTHING))
def test_a_value_is_taken_exactly_when_it_is_in_range(given_values: dict[str, Any]) -> None:
    def is_good(name: str, value: Any) -> bool:
        if value is None or value == "auto":
            return True
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if name == "learning_rate_multiplier":
            return 0 < value <= 100
        return value in range(1, {"n_epochs": 51, "batch_size": 257}[name])

    if all(is_good(name, value) for name, value in given_values.items()):
        checked = check_hyperparameters(given_values, "hyperparameters")
        assert checked.keys() == RANGES.keys()
        for name, value in checked.items():
            wanted = given_values.get(name)
            assert value == (AUTO if wanted is None else wanted)
            assert value == AUTO or isinstance(value, int) == RANGES[name].whole
    else:
        with pytest.raises(InvalidRequest, match=r"from|above"):
            check_hyperparameters(given_values, "hyperparameters")


def test_the_message_names_the_range_and_the_path() -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_hyperparameters({"n_epochs": 51}, "method.supervised.hyperparameters")
    assert caught.value.param == "method.supervised.hyperparameters.n_epochs"
    assert "a whole number from 1 to 50" in caught.value.message


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="n_epochs"):
        check_hyperparameters({"epochs": 3}, "hyperparameters")
