"""The data cursor: every row once per epoch, a new order each time, a pure function of the step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.workers.trainer.data_order import DataOrder
from tunesmith.workers.trainer.schedule import Schedule, learning_rate


@given(
    rows=st.integers(1, 60), batch=st.integers(1, 70), epochs=st.integers(1, 4), seed=st.integers()
)
def test_each_epoch_takes_every_row_once(rows: int, batch: int, epochs: int, seed: int) -> None:
    order = DataOrder(rows, batch, epochs, seed)
    batches = [order.batch(step) for step in range(order.total_steps)]
    assert all(1 <= len(each) <= batch for each in batches)
    for epoch in range(epochs):
        steps = [s for s in range(order.total_steps) if order.epoch(s) == epoch]
        assert sorted(row for step in steps for row in batches[step]) == list(range(rows))
        assert [order.ends_epoch(step) for step in steps] == [False] * (len(steps) - 1) + [True]
    later = DataOrder(rows, batch, epochs, seed)
    last = order.total_steps - 1
    assert later.batch(last) == batches[last]  # without walking there


def test_orders_differ_by_epoch_and_seed() -> None:
    orders = [tuple(DataOrder(50, 5, 3, seed).order(epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert tuple(range(50)) not in orders


def test_the_order_is_pinned() -> None:
    """A resumed run may meet a newer release: the order must not change under it."""
    assert DataOrder(8, 2, 1, 42).order(0) == [7, 2, 6, 4, 0, 1, 5, 3]


@given(
    total=st.integers(1, 300),
    warmup=st.integers(0, 310),
    schedule=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_the_rate_rises_to_the_peak_and_falls_but_never_to_zero(
    total: int, warmup: int, schedule: Schedule
) -> None:
    rates = [learning_rate(step, total, warmup, 1.0, schedule) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if warmup < total:
        assert max(rates) == pytest.approx(1)
    if schedule == "constant":
        assert set(rates[warmup:]) <= {1.0}


def test_cosine_is_half_way_down_in_the_middle() -> None:
    rates = [learning_rate(step, 100, 0, 2.0, "cosine") for step in range(100)]
    assert rates[0] == 2.0
    assert rates[50] == pytest.approx(1.0)
    assert rates[25] > 2.0 * 0.75  # above the straight line
    assert rates[75] < 2.0 * 0.25
