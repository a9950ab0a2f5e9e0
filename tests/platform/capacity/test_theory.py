"""Formulas against values that are known, and against an LRU cache that is played through."""

from __future__ import annotations

import random
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.capacity.theory import (
    characteristic_time,
    erlang_c,
    lru_hit_ratio,
    mean_wait,
    wait_quantile,
    zipf,
)


@pytest.mark.parametrize(
    ("servers", "load", "waits"),
    # M/M/1: C = load. M/M/2: C = a^2 / (2 + a). The last one: any table of Erlang C.
    [(1, 0.3, 0.3), (1, 0.95, 0.95), (2, 1.0, 1 / 3), (2, 1.5, 2.25 / 3.5), (10, 8.0, 0.4092)],
)
def test_erlang_c(servers: int, load: float, waits: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(waits, rel=1e-3)


@given(st.integers(1, 2000), st.floats(0.01, 0.999))
def test_erlang_c_is_a_probability_that_falls_with_servers(servers: int, busy: float) -> None:
    load = servers * busy
    assert 0 <= erlang_c(servers + 1, load) <= erlang_c(servers, load) <= 1
    assert mean_wait(servers + 1, load, 1.0) <= mean_wait(servers, load, 1.0)


def test_more_than_is_carried_waits_for_ever() -> None:
    assert erlang_c(3, 3.0) == 1.0
    assert mean_wait(3, 3.5, 1.0) == float("inf")
    assert wait_quantile(3, 3.5, 1.0, 0.95) == float("inf")


def test_quantiles_of_the_wait_follow_its_distribution() -> None:
    # M/M/1 at 0.8: P(W > t) = 0.8 exp(-0.2 t)
    assert wait_quantile(1, 0.8, 1.0, 0.95) == pytest.approx(13.863, rel=1e-3)
    assert wait_quantile(1, 0.8, 1.0, 0.1) == 0.0
    with pytest.raises(ValueError, match="0 servers"):
        erlang_c(0, 1.0)


@pytest.mark.parametrize(("items", "places", "exponent"), [(500, 50, 0.8), (1000, 300, 1.0)])
def test_che_comes_within_a_hundredth_of_a_played_cache(
    items: int, places: int, exponent: float
) -> None:
    shares = zipf(items, exponent)
    chance = random.Random(7)
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    asked = chance.choices(range(items), weights=shares, k=60_000)
    for number, item in enumerate(asked):
        hits += item in cache and number >= 20_000
        cache[item] = None
        cache.move_to_end(item)
        if len(cache) > places:
            cache.popitem(last=False)
    assert lru_hit_ratio(shares, places) == pytest.approx(hits / 40_000, abs=0.01)


def test_a_cache_with_a_place_for_everybody_never_misses() -> None:
    assert lru_hit_ratio(zipf(10, 1.0), 10) == 1.0
    assert characteristic_time(zipf(10, 1.0), 0) == 0.0
    assert sum(zipf(1000, 1.2)) == pytest.approx(1.0)
