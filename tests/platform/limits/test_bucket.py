"""A bucket never gives more than it held and gained, whatever is asked of it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.limits.bucket import MINUTE, Bucket, Wish, grant

AMOUNTS = st.integers(0, 500)
STEPS = st.lists(
    st.tuples(st.floats(-1, 30), AMOUNTS, AMOUNTS, st.one_of(st.just(0.0), st.floats(-200, 0))),
    max_size=40,
)


@given(limit=st.integers(1, 300), steps=STEPS)
def test_it_gives_what_it_held_and_gained(limit: int, steps: list[tuple[float, ...]]) -> None:
    bucket = Bucket(limit, 1000.0)
    moment, latest, total = 1000.0, 1000.0, 0.0
    for wait, wanted, needed, returned in steps:
        moment += wait
        latest = max(latest, moment)
        wish = Wish(int(max(wanted, needed)), int(needed), returned)
        granted, bucket = grant(bucket, moment, limit, wish)
        total += granted.granted - returned  # a debt was used, too
        assert granted.granted == 0 or needed <= granted.granted <= wish.wanted
        assert bucket.level <= limit
        assert granted.level == bucket.level
    gained = (latest - 1000.0) * limit / MINUTE
    assert total + bucket.level <= limit + gained + 1e-6


@given(limit=st.integers(1, 10_000), waits=st.lists(st.floats(0.01, 2), min_size=5, max_size=200))
def test_under_a_flood_it_gives_the_limit_and_not_less(limit: int, waits: list[float]) -> None:
    bucket, moment, total = Bucket(0.0, 0.0), 0.0, 0
    for wait in waits:
        moment += wait
        granted, bucket = grant(bucket, moment, limit, Wish(10**9))
        total += granted.granted
    assert math.isclose(total + bucket.level, moment * limit / MINUTE, rel_tol=1e-9, abs_tol=1e-6)
    assert 0 <= bucket.level < 1


def test_a_debt_is_paid_before_anything_is_given() -> None:
    granted, bucket = grant(Bucket(10.0, 0.0), 0.0, 60, Wish(0, returned=-40.0))
    assert granted == (0, -30.0)
    assert grant(bucket, 30.0, 60, Wish(5))[0].granted == 0
    assert grant(bucket, 31.0, 60, Wish(5))[0].granted == 1


def test_what_is_returned_never_makes_more_than_the_limit() -> None:
    granted, _ = grant(Bucket(59.0, 0.0), 0.0, 60, Wish(100, returned=30.0))
    assert granted.granted == 60


def test_a_lower_limit_cuts_what_is_there() -> None:
    assert grant(Bucket(600.0, 0.0), 0.0, 60, Wish(1000))[0].granted == 60


def test_time_that_filled_it_pays_no_later_debt() -> None:
    granted, _ = grant(Bucket(60.0, 0.0), 1000.0, 60, Wish(1, returned=-100.0))
    assert granted == (0, -40.0)
