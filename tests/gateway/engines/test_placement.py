"""What engines hold: homes by traffic, room by worth, what was lost given back."""

from __future__ import annotations

from tests.gateway.engines.fleets import BASE, Fleet, digest_of

from tunesmith.gateway.engines.adapter import SHRINK_SECONDS

ONE = digest_of(1)
REST = {digest_of(number): 1 for number in range(2, 34)}


def test_homes_grow_with_traffic_and_shrink_late() -> None:
    fleet = Fleet(8)
    fleet.ask_for(60, REST)
    assert len(fleet.homes(ONE)) == 1
    fleet.ask_for(60, REST | {ONE: 16})
    grown = len(fleet.homes(ONE))
    assert grown >= 4
    assert all(ONE in home.adapters for home in fleet.homes(ONE))
    fleet.ask_for(int(SHRINK_SECONDS) - 1, REST)
    assert len(fleet.homes(ONE)) >= grown - 1, "a lull is no reason"
    fleet.ask_for(600, REST)
    assert len(fleet.homes(ONE)) == 1


def test_steady_traffic_does_not_make_homes_come_and_go() -> None:
    fleet = Fleet(8)
    fleet.ask_for(120, REST | {ONE: 8})
    seen = set()
    for _ in range(60):
        fleet.ask_for(1, REST | {ONE: 8})
        seen.add(len(fleet.homes(ONE)))
    assert len(seen) == 1


def test_little_traffic_is_worth_one_home() -> None:
    fleet = Fleet(8)
    for _ in range(300):  # all of the traffic, and one request in two seconds
        fleet.answer(ONE)
        fleet.now += 2.0
        assert fleet.placement.plan() == []
    assert len(fleet.homes(ONE)) == 1


def test_no_traffic_before_a_new_home_holds_the_adapter() -> None:
    fleet = Fleet(4)
    first = fleet.answer(ONE)
    pulls = []
    for _ in range(30):
        assert {fleet.answer(ONE) for _ in range(20)} == {first}
        fleet.now += 1.0
        pulls = fleet.placement.plan()
    assert len(pulls) == 3
    warmed = pulls[0].engine
    warmed.served(ONE, 64)
    first.in_flight += 1
    assert fleet.choose(ONE) is warmed


def test_an_uneven_fleet_is_evened_out() -> None:
    fleet = Fleet(4)
    crowded = fleet.engines[0]
    digests = [digest_of(number) for number in range(200)]
    mine = [digest for digest in digests if fleet.homes(digest)[0] is crowded][:12]
    others = [digest for digest in digests if fleet.homes(digest)[0] is not crowded][:24]
    rates = dict.fromkeys([*mine, *others], 1)
    fleet.ask_for(20, rates)
    assert all(len(fleet.homes(digest)) == 1 for digest in rates)
    fleet.ask_for(280, rates)
    assert any(len(fleet.homes(digest)) > 1 for digest in mine)
    assert all(len(fleet.homes(digest)) == 1 for digest in others)


def test_room_is_made_by_dropping_what_is_worth_least() -> None:
    fleet = Fleet(1, holds=4)
    (engine,) = fleet.engines
    often, rare, once = digest_of(10), digest_of(11), digest_of(12)
    fleet.ask_for(5, {often: 3})
    fleet.ask_for(5, {rare: 1})
    fleet.answer(once)
    engine.served(digest_of(13), 4)  # asked for through another gateway
    fleet.placement.plan()
    assert fleet.placement.victims(engine) == []
    with engine.serving(fleet_asks := digest_of(14)):
        assert fleet_asks not in engine.adapters
        assert [drop.digest for drop in fleet.placement.victims(engine)] == [digest_of(13)]
        engine.entered(digest_of(15))
        dropped = [drop.digest for drop in fleet.placement.victims(engine)]
        assert dropped == [digest_of(13), once]
        engine.entered(once)
        dropped = [drop.digest for drop in fleet.placement.victims(engine)]
        assert dropped == [digest_of(13), rare], "one that answers is not dropped"


def test_a_copy_that_no_request_goes_to_is_dropped_first() -> None:
    fleet = Fleet(2, holds=2)
    home, other = fleet.traffic.order(fleet.traffic.adapter(BASE, ONE))
    rare = next(d for d in map(digest_of, range(50, 99)) if fleet.homes(d) == [other])
    home.served(ONE, 2)
    fleet.ask_for(5, {ONE: 1})
    fleet.answer(rare)
    other.served(ONE, 2)
    fleet.placement.plan()
    other.entered(digest_of(40))
    assert [drop.digest for drop in fleet.placement.victims(other)] == [ONE]


def test_an_engine_that_restarts_gets_back_what_it_is_home_to_the_most_used_first() -> None:
    fleet = Fleet(2)
    rates = {digest_of(number): 1 + number for number in range(8)}
    fleet.ask_for(5, rates)
    engine = fleet.engines[0]
    mine = [digest for digest in rates if engine in fleet.homes(digest)]
    engine.went_down("It is gone.")
    fleet.traffic.changed()
    engine.came_up(frozenset({BASE}), None)
    fleet.traffic.changed()
    lost = [pull.digest for pull in fleet.placement.lost(engine)]
    assert lost == sorted(mine, key=rates.__getitem__, reverse=True)
    fleet.traffic.forget(lost[0])
    assert [pull.digest for pull in fleet.placement.lost(engine)] == lost[1:]
