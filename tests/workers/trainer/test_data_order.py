"""The data cursor: every row once per epoch, a new order each time, a pure function of the step."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.workers.trainer.data_order import DataOrder, micro_batches, padded_tokens
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.schedule import learning_rate


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


@given(lengths=st.lists(st.integers(2, 50), min_size=1, max_size=30), most=st.integers(1, 200))
def test_micro_batches_keep_every_row_within_the_budget(lengths: list[int], most: int) -> None:
    rows = [Row(array("i", [3] * n), bytes(n - 1) + b"\x01", i) for i, n in enumerate(lengths)]
    passes = micro_batches(rows, range(len(rows)), most)
    assert sorted(index for each in passes for index in each) == list(range(len(rows)))
    for each in passes:
        assert len(each) == 1 or padded_tokens(rows, each) <= most


@given(total=st.integers(1, 300), warmup=st.integers(0, 310))
def test_the_rate_rises_to_the_peak_and_falls_but_never_to_zero(total: int, warmup: int) -> None:
    rates = [learning_rate(step, total, warmup, 1.0) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if warmup < total:
        assert max(rates) == 1
