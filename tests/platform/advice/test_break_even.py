"""Break-even, savings and sensitivity: a worked example, and what must hold of any figures."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.advice.advice import advise
from tunesmith.platform.advice.break_even import MAX_MONTHS, BreakEven
from tunesmith.platform.advice.recommendation import Situation
from tunesmith.platform.advice.sentences import headline, money, summary
from tunesmith.platform.advice.span import MAX_AMOUNT, Span, parse_span
from tunesmith.platform.domain.errors import InvalidRequest


def worth(**inputs: Any) -> BreakEven:
    """The break-even of numbers and ranges."""
    spans = {name: parse_span(value) for name, value in inputs.items()}
    found = advise(spans, Situation()).worth
    assert found is not None
    return found


WORKED: dict[str, Any] = {
    "queries_per_month": 10_000,
    "price_per_query": 0.03,
    "upfront_cost": [2000, 5000],
    "monthly_cost": [50, 100],
}


def test_the_worked_example() -> None:
    found = worth(**WORKED)
    months = {case: outlook.break_even_months for case, outlook in found.cases.items()}
    assert months == {"best": 8.0, "middle": pytest.approx(3500 / 225), "worst": 25.0}
    assert f"{months['middle']:.2f}" == "15.56"
    assert found.cases["middle"].api_monthly == pytest.approx(300)
    assert [found.cases[case].saved_after(12) for case in ("best", "middle", "worst")] == [
        pytest.approx(1000),
        pytest.approx(-800),
        pytest.approx(-2600),
    ]
    assert headline(found) == (
        "It pays for itself after 8 months at best, 15.6 in the middle case, 25 at worst"
    )


def test_a_price_by_tokens_is_the_same_price() -> None:
    # 4,000 tokens at 2.5 a million and 2,000 at 10 a million are 0.01 + 0.02.
    by_tokens = {name: value for name, value in WORKED.items() if name != "price_per_query"} | {
        "tokens_in_per_query": 4000,
        "tokens_out_per_query": 2000,
        "input_price_per_million": 2.5,
        "output_price_per_million": 10,
    }
    assert worth(**by_tokens).cases["worst"].break_even_months == pytest.approx(25)


def test_parts_of_the_upfront_cost_add_up() -> None:
    parts = {name: value for name, value in WORKED.items() if name != "upfront_cost"} | {
        "data_preparation_cost": [1900, 4700],
        "training_cost": [100, 300],
    }
    found = worth(**parts)
    assert found.cases["best"].break_even_months == pytest.approx(8)
    assert found.cases["worst"].break_even_months == pytest.approx(25)
    assert {item.input for item in found.sensitivity} >= {"data_preparation_cost", "training_cost"}


def test_sensitivity_of_the_worked_example() -> None:
    by_input = {item.input: item for item in worth(**WORKED).sensitivity}
    price = by_input["price_per_query"]
    assert price.break_even_lower == pytest.approx(3500 / (240 - 75))
    assert price.break_even_higher == pytest.approx(3500 / (360 - 75))
    assert price.saving_lower == pytest.approx(12 * (240 - 75) - 3500)
    upfront = by_input["upfront_cost"]
    assert upfront.saving_lower == pytest.approx(12 * 225 - 2800)
    assert upfront.saving_higher == pytest.approx(12 * 225 - 4200)


@pytest.mark.parametrize(
    ("monthly", "never_in"),
    [(300, ["best", "middle", "worst"]), ([200, 500], ["middle", "worst"]), ([50, 310], ["worst"])],
)
def test_what_never_pays_says_so(monthly: Any, never_in: list[str]) -> None:
    found = worth(**WORKED | {"monthly_cost": monthly})
    assert [case for case, o in found.cases.items() if o.break_even_months is None] == never_in
    said = summary(found, "USD")[0]
    assert "never" in said
    assert "serving the tuned model costs as much a month as the API does" in said


def test_later_than_a_hundred_years_is_never() -> None:
    found = worth(**WORKED | {"price_per_query": 5e-324, "monthly_cost": 0})
    assert found.cases["best"].break_even_months is None
    assert "more than 100 years" in summary(found, "USD")[0]


def test_nothing_up_front_pays_at_once() -> None:
    assert worth(**WORKED | {"upfront_cost": 0}).cases["worst"].break_even_months == 0


AMOUNT = st.floats(min_value=0, max_value=1e6, allow_subnormal=False)
SPANS = st.tuples(AMOUNT, AMOUNT).map(lambda two: [min(two), max(two)])
INPUTS = st.fixed_dictionaries(
    {
        "queries_per_month": SPANS,
        "price_per_query": SPANS,
        "upfront_cost": SPANS,
        "monthly_cost": SPANS,
    }
)


def _order(months: float | None) -> float:
    return math.inf if months is None else months


@given(INPUTS)
def test_best_is_no_later_than_middle_and_middle_no_later_than_worst(inputs: Any) -> None:
    cases = worth(**inputs).cases
    best, middle, worst = (_order(cases[c].break_even_months) for c in ("best", "middle", "worst"))
    assert best <= middle * (1 + 1e-9)
    assert middle <= worst * (1 + 1e-9)
    for months in (0, 12, 36):
        saved = [cases[case].saved_after(months) for case in ("worst", "middle", "best")]
        assert saved == sorted(saved)


@given(INPUTS)
def test_at_the_break_even_the_saving_is_zero(inputs: Any) -> None:
    for outlook in worth(**inputs).cases.values():
        months = outlook.break_even_months
        if months is None:
            assert outlook.monthly_saving <= 0 or outlook.saved_after(MAX_MONTHS) < 0
        else:
            assert 0 <= months <= MAX_MONTHS
            size = outlook.spent_here(months) + months * outlook.api_monthly
            assert abs(outlook.saved_after(months)) <= 1e-9 * size


@given(INPUTS, st.integers(1, 60))
def test_the_series_is_the_formula_month_by_month(inputs: Any, months: int) -> None:
    found = worth(**inputs)
    series = found.series(months)
    assert [row["month"] for row in series] == list(range(months + 1))
    for row in series:
        for case, outlook in found.cases.items():
            difference = row[f"api_{case}"] - row[f"here_{case}"]
            assert row[f"saving_{case}"] == pytest.approx(difference, rel=1e-9, abs=1e-3)
            assert row[f"saving_{case}"] == outlook.saved_after(row["month"])


@given(INPUTS)
def test_dearer_here_is_worse_and_dearer_there_better(inputs: Any) -> None:
    found = worth(**inputs)
    swings = [item.swing for item in found.sensitivity]
    assert swings == sorted(swings, reverse=True)
    for item in found.sensitivity:
        gain = item.saving_higher - item.saving_lower
        assert gain <= 0 if item.input in ("upfront_cost", "monthly_cost") else gain >= 0


@given(st.lists(st.floats(0, MAX_AMOUNT), min_size=2, max_size=2).map(sorted))
def test_a_range_holds_its_middle(ends: list[float]) -> None:
    span = parse_span(ends)
    assert span.low <= span.middle <= span.high


@pytest.mark.parametrize(
    "bad",
    [True, "5", None, [], [1], [1, 2, 3], [2, 1], [1, "2"], [True, 2], -1, -0.01,
     math.nan, math.inf, 1e13, 10**400, {"low": 1}],
)  # fmt: skip
def test_what_is_no_range_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"it must be|a range"):
        parse_span(bad)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"queries_per_month": None}, "queries_per_month"),
        ({"monthly_cost": None}, "monthly_cost"),
        ({"upfront_cost": None}, "upfront_cost"),
        ({"price_per_query": None}, "price_per_query"),
        ({"training_cost": 5}, "training_cost"),
        ({"tokens_in_per_query": 5}, "tokens_in_per_query"),
        ({"price_per_query": None, "tokens_in_per_query": 5}, "tokens_out_per_query"),
    ],
)
def test_costs_that_lack_something_or_say_it_twice_are_refused(
    change: dict[str, Any], param: str
) -> None:
    inputs = {name: value for name, value in (WORKED | change).items() if value is not None}
    with pytest.raises(InvalidRequest) as refused:
        worth(**inputs)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1250, "USD", "$1,250"),
        (-3.5, "USD", "-$3.50"),
        (0.0001, "EUR", "€0.0001"),
        (-0.0, "USD", "$0"),
        (1234567.8, "SEK", "1,234,568 SEK"),
    ],
)
def test_money_reads_as_people_write_it(amount: float, currency: str, text: str) -> None:
    assert money(amount, currency) == text


def test_spans_add_end_by_end() -> None:
    assert Span(1, 2) + Span(10, 20) == Span(11, 22)
