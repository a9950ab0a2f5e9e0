"""Which engine a request goes to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.engines.fleets import BASE, Fleet, digest_of

from tunesmith.gateway.engines.breaker import FAILURES
from tunesmith.gateway.engines.choice import BOUND, SLACK

ONE = digest_of(1)


def test_a_cold_adapter_goes_to_its_first_home_and_stays_there() -> None:
    fleet = Fleet(8)
    first = fleet.homes(ONE)[0]
    assert [fleet.answer(ONE) for _ in range(5)] == [first] * 5


def test_requests_wait_where_the_adapter_is_being_pulled() -> None:
    fleet = Fleet(8)
    pulling = fleet.choose(ONE)
    for _ in range(30):  # well above what a home without a pull would be given
        pulling.entered(ONE)
        assert fleet.choose(ONE) is pulling


def test_an_adapter_is_asked_where_it_is_held_even_if_that_is_no_home() -> None:
    fleet = Fleet(8)
    last = fleet.traffic.order(fleet.traffic.adapter(BASE, ONE))[-1]
    last.served(ONE, 64)
    assert fleet.choose(ONE) is last


def test_a_home_above_the_bound_is_passed_over() -> None:
    fleet = Fleet(4)
    first, second, *_ = fleet.traffic.order(fleet.traffic.adapter(BASE, ONE))
    first.served(ONE, 64)
    first.in_flight = SLACK
    assert fleet.choose(ONE) is first, "a few are never too many"
    first.in_flight = 4 * SLACK
    assert fleet.choose(ONE) is second


@given(st.lists(st.integers(0, 4000), min_size=2, max_size=8), st.integers(0, 50))
def test_no_engine_above_the_bound_is_given_more(busy: list[int], number: int) -> None:
    fleet = Fleet(len(busy))
    for engine, there in zip(fleet.engines, busy, strict=True):
        engine.in_flight = there
    mean = sum(busy) / len(busy)
    chosen = fleet.choose(digest_of(number))
    assert chosen.in_flight <= max(BOUND * mean + 2, mean + SLACK)


def test_an_engine_whose_slots_are_taken_is_passed_over_and_no_request_is_stuck() -> None:
    fleet = Fleet(2, slots=2)
    first, second = fleet.traffic.order(fleet.traffic.adapter(BASE, ONE))
    for number in (10, 11):
        first.entered(digest_of(number))
    assert fleet.choose(ONE) is second
    for number in (12, 13, 14):
        second.entered(digest_of(number))
    assert fleet.choose(ONE) is first, "all are full: the least busy one"


def test_a_held_adapter_is_not_pulled_elsewhere_for_a_slot() -> None:
    fleet = Fleet(2, slots=2)
    first, _ = fleet.traffic.order(fleet.traffic.adapter(BASE, ONE))
    first.served(ONE, 64)
    for number in (10, 11):
        first.entered(digest_of(number))
    assert fleet.choose(ONE) is first


def test_a_base_goes_to_the_least_busy_and_a_prefix_to_the_same_of_equals() -> None:
    fleet = Fleet(4)
    for number, engine in enumerate(fleet.engines):
        engine.in_flight = 10 * number
    assert fleet.choose(None) is fleet.engines[0]
    assert fleet.choose(None, affinity=7) is fleet.engines[0]
    for engine in fleet.engines:
        engine.in_flight = 10
    chosen = {fleet.choose(None, affinity=prefix) for prefix in range(100)}
    assert chosen == set(fleet.engines)
    same = fleet.choose(None, affinity=7)
    same.in_flight += 2
    assert fleet.choose(None, affinity=7) is same
    same.in_flight += 1
    assert fleet.choose(None, affinity=7) is not same


def test_other_gateways_requests_count() -> None:
    fleet = Fleet(2)
    fleet.engines[0].others = 5
    fleet.engines[1].in_flight = 4
    assert fleet.choose(None) is fleet.engines[1]


def test_an_engine_that_failed_the_request_or_many_is_left_out() -> None:
    fleet = Fleet(3)
    first, second, third = fleet.traffic.order(fleet.traffic.adapter(BASE, ONE))
    assert fleet.choose(ONE, exclude=first) is second
    for _ in range(FAILURES):
        second.breaker.failed(fleet.now)
    assert fleet.choose(ONE, exclude=first) is third
    fleet.now += 1.0
    assert fleet.choose(ONE, exclude=first) is second, "one request tries it"
    assert fleet.choose(ONE, exclude=first) is third


def test_a_draining_engine_and_one_that_is_down_get_nothing() -> None:
    fleet = Fleet(3)
    first, second, third = fleet.traffic.order(fleet.traffic.adapter(BASE, ONE))
    first.leaving = True
    second.went_down("It is gone.")
    fleet.traffic.changed()
    assert fleet.choose(ONE) is third
    third.leaving = True
    fleet.traffic.changed()
    assert fleet.router.choose(BASE, ONE) is None
