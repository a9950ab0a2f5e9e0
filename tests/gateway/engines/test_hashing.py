"""Rendezvous hashing: who joins or leaves moves no more than it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.engines.fleets import digest_of, engines_up

from tunesmith.gateway.engines.hashing import nearness, ranked, weight

DIGESTS = [digest_of(number) for number in range(400)]


@given(count=st.integers(2, 12), data=st.data())
def test_an_engine_that_leaves_moves_only_what_it_had(count: int, data: st.DataObject) -> None:
    engines = engines_up(count)
    gone = data.draw(st.sampled_from(engines))
    left = [engine for engine in engines if engine is not gone]
    for digest in DIGESTS[:60]:
        before = ranked(engines, digest)
        assert ranked(left, digest) == tuple(engine for engine in before if engine is not gone)


@given(st.permutations(range(6)))
def test_the_order_in_which_engines_came_does_not_matter(order: list[int]) -> None:
    engines = engines_up(6)
    shuffled = [engines[number] for number in order]
    for digest in DIGESTS[:20]:
        assert ranked(engines, digest) == ranked(shuffled, digest)


def test_first_homes_are_spread_evenly() -> None:
    engines = engines_up(8)
    firsts = [ranked(engines, digest)[0] for digest in DIGESTS]
    counts = [firsts.count(engine) for engine in engines]
    # 50 expected; the standard deviation of a fair split is 6.6.
    assert min(counts) > 50 - 4 * 6.6
    assert max(counts) < 50 + 4 * 6.6


def test_every_gateway_ranks_alike() -> None:
    """A weight of today is one of tomorrow: gateways of two versions must agree."""
    assert weight("http://10.0.0.1:8000", "ab") == weight("http://10.0.0.1:8000", "ab")
    assert weight("http://10.0.0.1:8000", "ab") != weight("http://10.0.0.1:800", "0ab")


def test_prefixes_are_spread_evenly() -> None:
    engines = engines_up(4)
    nearest = [max(engines, key=lambda engine: nearness(engine, prefix)) for prefix in range(1000)]
    assert all(150 < nearest.count(engine) < 350 for engine in engines)
