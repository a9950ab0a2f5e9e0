"""What tuned models have saved: whose requests count, at which price, less which costs."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.advice.prices import Price
from tunesmith.platform.advice.savings import (
    DAYS_PER_MONTH,
    Listed,
    PerQuery,
    PerToken,
    savings,
    savings_summary,
)
from tunesmith.platform.usage import Counts, UsageRow

START = date(2026, 1, 1)
ONE = Counts(1, 0, 0)


def row(day: int, model: str, alias: str = "", counts: Counts = ONE) -> UsageRow:
    return UsageRow(START + timedelta(days=day), model, alias, counts)


ROWS = [
    row(0, "pocket", counts=Counts(1000, 10_000, 10_000)),  # a base: no saving
    row(2, "ft:pocket:a::1", counts=Counts(10, 1000, 200)),
    row(3, "ft:pocket:a::1", counts=Counts(20, 3000, 300)),
    row(3, "ft:pocket:a::1", "bot", Counts(5, 500, 50)),
    row(3, "pocket", "bot", Counts(1, 100, 10)),
]


def test_tuned_models_and_aliases_count_and_bases_do_not() -> None:
    found = savings(ROWS, PerQuery(0.5), since=None, until=date(2026, 1, 10))
    assert [(m.model, m.alias, m.counts.requests, m.api_cost) for m in found.models] == [
        ("ft:pocket:a::1", "", 30, 15.0),
        ("ft:pocket:a::1", "bot", 5, 2.5),
        ("pocket", "bot", 1, 0.5),
    ]
    assert found.counts == Counts(36, 4600, 560)
    assert (found.since, found.days) == (date(2026, 1, 3), 8)
    assert found.saved == found.api_cost == 18.0
    assert savings_summary(found, "USD")[-1].startswith("What it cost here was not given")


def test_a_price_by_tokens() -> None:
    found = savings(ROWS, PerToken(1000, 10_000), since=None, until=date(2026, 1, 10))
    assert found.api_cost == pytest.approx(4.6 + 5.6)


def test_each_day_has_the_price_in_force_on_it() -> None:
    prices = [
        Price("big", 1000, 0, "USD", date(2026, 1, 4), "x"),
        Price("big", 9000, 0, "USD", date(2026, 2, 1), "x"),
    ]
    rows = [*ROWS, row(31, "ft:pocket:a::1", counts=Counts(1, 1000, 0))]
    found = savings(rows, Listed(prices, "big"), since=None, until=date(2026, 2, 1))
    assert found.api_cost == pytest.approx(3.0 + 0.5 + 0.1 + 9.0)
    assert found.unpriced_requests == 10
    assert "10 of them are from before the first price" in savings_summary(found, "USD")[1]


def test_costs_here_are_taken_off_by_days() -> None:
    until = START + timedelta(days=29)
    found = savings(
        [row(0, "ft:a", counts=Counts(300, 0, 0))],
        PerQuery(1),
        since=None,
        until=until,
        upfront_cost=400,
        monthly_cost=DAYS_PER_MONTH,  # 1 a day
    )
    assert found.days == 30
    assert found.cost_here == pytest.approx(430)
    assert found.saved == pytest.approx(-130)
    # 10 a day come in, 1 a day goes out: 130 / 9 days.
    assert found.months_to_break_even == pytest.approx(130 / 9 / DAYS_PER_MONTH)
    assert "$130 are still to be saved" in savings_summary(found, "USD")[-1]


def test_what_costs_more_a_month_than_it_saves_never_pays() -> None:
    found = savings(ROWS, PerQuery(0.01), since=None, until=date(2026, 1, 10), monthly_cost=100)
    assert found.months_to_break_even is None
    assert "never pays for itself" in savings_summary(found, "USD")[-1]


def test_no_use_says_so() -> None:
    found = savings([ROWS[0]], PerQuery(1), since=None, until=START)
    assert (found.models, found.saved, found.days) == ([], 0, 1)
    assert "nothing was saved" in savings_summary(found, "USD")[0]


@given(
    st.lists(
        st.builds(
            row,
            st.integers(0, 60),
            st.sampled_from(["pocket", "ft:a", "ft:b"]),
            st.sampled_from(["", "bot"]),
            st.builds(Counts, st.integers(1, 1000), st.integers(0, 10**6), st.integers(0, 10**6)),
        )
    ),
    st.floats(0, 100),
    st.floats(0, 1e5),
    st.floats(0, 1e4),
)
def test_the_parts_add_up(
    rows: list[UsageRow], price: float, upfront: float, monthly: float
) -> None:
    found = savings(
        rows,
        PerQuery(price),
        since=START,
        until=START + timedelta(days=60),
        upfront_cost=upfront,
        monthly_cost=monthly,
    )
    counted = sum(r.counts.requests for r in rows if r.alias or r.model != "pocket")
    assert found.counts.requests == counted
    assert found.api_cost == pytest.approx(counted * price)
    assert found.saved == pytest.approx(
        counted * price - upfront - monthly * 61 / DAYS_PER_MONTH, abs=1e-6
    )
    assert (found.months_to_break_even == 0) == (found.saved >= 0)
    assert savings_summary(found, "EUR")
