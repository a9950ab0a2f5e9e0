"""Turns at an engine: none idle while one waits, none starved, none lost, fair by tokens."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from math import ceil
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.gateway.limits.virtual import clock, run

from tunesmith.gateway.fairness.fair_queue import AGE_SECONDS, FairQueue
from tunesmith.gateway.fairness.tenant_line import Priority
from tunesmith.gateway.fairness.turn import Turn
from tunesmith.platform.domain.errors import Unavailable

TENANTS = ["a", "b", "c"]
BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE


def most_of_one(capacity: int) -> int:
    return max(1, capacity - max(1, ceil(capacity / 5)))


def most_of_batches(capacity: int) -> int:
    return max(1, capacity - max(1, ceil(capacity / 4)))


class Requests(RuleBasedStateMachine):
    """Requests come, go, wait and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.capacity = 5
        self.moment = 0.0
        self.queue = FairQueue(self.capacity, lambda: self.moment)
        self.waiting: dict[tuple[str, Priority], list[Turn]] = defaultdict(list)
        self.running: list[tuple[str, Priority, Turn]] = []

    @rule(
        tenant=st.sampled_from(TENANTS),
        cost=st.integers(1, 1000),
        priority=st.sampled_from(Priority),
        weight=st.sampled_from([0.5, 1.0, 4.0]),
    )
    def arrive(self, tenant: str, cost: int, priority: Priority, weight: float) -> None:
        turn = self.queue.try_enter(tenant, cost, priority, weight)
        line = self.waiting[tenant, priority]
        if turn is not None:
            assert not line, "passed its own tenant's line"
            self.running.append((tenant, priority, turn))
            return

        def on_turn() -> None:
            # First come, first served within a tenant.
            self.running.append((tenant, priority, line.pop(0)))

        line.append(self.queue.line_up(tenant, cost, on_turn, priority, weight))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), actual=st.none() | st.integers(0, 5000))
    def end(self, data: st.DataObject, actual: int | None) -> None:
        index = data.draw(st.integers(0, len(self.running) - 1))
        _, _, turn = self.running.pop(index)
        turn.leave(actual)
        turn.leave(actual)

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from([line for line in self.waiting.values() if line]))
        line.pop(data.draw(st.integers(0, len(line) - 1))).leave(0)

    @rule(seconds=st.sampled_from([0.1, 10.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.moment += seconds

    @invariant()
    def no_slot_is_lost(self) -> None:
        assert self.queue.running == len(self.running) <= self.capacity
        assert self.queue.waiting == sum(map(len, self.waiting.values()))

    @invariant()
    def nobody_waits_who_may_have_a_slot(self) -> None:
        if self.queue.running >= most_of_one(self.capacity):
            return  # the reserve
        for (tenant, priority), line in self.waiting.items():
            held = sum(1 for name, _, _ in self.running if name == tenant)
            if line and held < most_of_one(self.capacity):
                assert priority is BATCH
                assert self.queue.running >= most_of_batches(self.capacity)

    @invariant()
    def a_tenant_leaves_its_reserve(self) -> None:
        for tenant in TENANTS:
            held = sum(1 for name, _, _ in self.running if name == tenant)
            assert held <= most_of_one(self.capacity)

    def teardown(self) -> None:
        while self.running:
            self.running.pop()[2].leave(1)
        assert self.queue.running == self.queue.waiting == 0
        assert not any(self.waiting.values())


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.sampled_from([1, 12, 20]),  # where no tenant comes to its most
    weights=st.lists(st.sampled_from([1.0, 1.5, 2.0]), min_size=4, max_size=5),
    costs=st.lists(st.integers(1, 100), min_size=20, max_size=60),
)
def test_tenants_that_wait_get_tokens_by_their_weights(
    capacity: int, weights: list[float], costs: list[int]
) -> None:
    """The bound of start-time fair queueing: a request each apart, whatever is in flight."""
    queue = FairQueue(capacity)
    blockers = [queue.try_enter(f"blocker {number}", 1) for number in range(capacity)]
    crowd = Crowd(queue, [turn for turn in blockers if turn is not None])
    for tenant, weight in enumerate(weights):
        for cost in costs:
            crowd.ask(str(tenant), cost, weight=weight)
    served = [0.0] * len(weights)
    waiting = [len(costs)] * len(weights)
    seen = 0
    while all(waiting):
        crowd.serve(1)
        for turn in crowd.started[seen:]:
            served[int(turn.line.tenant_id)] += turn.cost
            waiting[int(turn.line.tenant_id)] -= 1
        seen = len(crowd.started)
        shares = [each / weight for each, weight in zip(served, weights, strict=True)]
        for one, other in combinations(range(len(weights)), 2):
            bound = max(costs) / weights[one] + max(costs) / weights[other]
            assert abs(shares[one] - shares[other]) <= bound + 1e-6


class Crowd:
    """Requests at a queue, which end in the order in which they begin."""

    def __init__(self, queue: FairQueue, running: list[Turn]) -> None:
        self.queue = queue
        self.running = running
        self.started: list[Turn] = []

    @property
    def order(self) -> list[str]:
        return [turn.line.tenant_id for turn in self.started]

    def ask(
        self,
        tenant: str,
        cost: float = 100,
        priority: Priority = INTERACTIVE,
        weight: float = 1.0,
    ) -> None:
        turn = self.queue.try_enter(tenant, cost, priority, weight)
        if turn is not None:
            self._begin(turn)
            return
        waiting = self.queue.line_up(tenant, cost, lambda: self._begin(waiting), priority, weight)

    def _begin(self, turn: Turn) -> None:
        self.started.append(turn)
        self.running.append(turn)

    def serve(self, requests: int) -> None:
        for _ in range(requests):
            self.running.pop(0).leave()


def full(
    capacity: int, time: Callable[[], float] = monotonic, **options: float
) -> tuple[FairQueue, list[Turn]]:
    """A queue whose slots a tenant each has."""
    queue = FairQueue(capacity, time, **options)
    turns = [queue.try_enter(f"busy {i}", 100) for i in range(capacity)]
    return queue, [turn for turn in turns if turn is not None]


def test_one_tenant_alone_leaves_a_fifth_to_whoever_comes() -> None:
    queue = FairQueue(20)
    turns = [queue.try_enter("flood", 100) for _ in range(50)]
    assert sum(turn is not None for turn in turns) == 16
    assert queue.try_enter("other", 100) is not None
    assert FairQueue(1).try_enter("alone", 100) is not None


def test_who_arrives_in_a_flood_of_others_finds_a_slot_and_a_flood_does_not() -> None:
    queue = FairQueue(20)
    crowd = Crowd(queue, [])
    for _ in range(100):
        crowd.ask("flood 1")
        crowd.ask("flood 2")
    crowd.serve(100)  # what they had ahead is used up
    assert queue.running == 16
    assert queue.try_enter("flood 1", 100) is None
    others = [queue.try_enter(f"other {number}", 100) for number in range(3)]
    assert all(others)
    crowd.serve(len(crowd.running))
    assert queue.waiting > 0
    while crowd.running:
        crowd.serve(1)
    assert queue.waiting == 0


def test_who_had_less_comes_first_with_a_burst_and_then_in_turn() -> None:
    crowd = Crowd(*full(8))
    for _ in range(200):
        crowd.ask("flood 1")
        crowd.ask("flood 2")
    crowd.serve(100)
    begun = len(crowd.order)
    for _ in range(50):
        crowd.ask("other")
    crowd.serve(4)
    # Free slots at once, and half a request for each slot before the floods come again.
    burst = crowd.order[begun:]
    assert burst[:4] == ["other"] * 4
    crowd.serve(45)
    assert 15 <= crowd.order[begun + len(burst) :].count("other") <= 18  # a third


def test_who_arrives_comes_before_a_flood_that_waits() -> None:
    crowd = Crowd(*full(4))
    for _ in range(100):
        crowd.ask("flood")
    for _ in range(3):
        crowd.ask("other")
    crowd.serve(4)
    assert crowd.order.count("other") >= 2


def test_an_answer_longer_than_its_estimate_is_paid_for_later() -> None:
    queue = FairQueue(10)
    first = queue.try_enter("long", 10)
    running = [queue.try_enter(f"busy {number}", 10) for number in range(9)]
    assert first is not None
    crowd = Crowd(queue, [turn for turn in running if turn is not None])
    for _ in range(60):
        for name in ("long", "fair 1", "fair 2"):
            crowd.ask(name, 10)
    first.leave(210)  # twenty turns of each of the others come before it has paid
    crowd.serve(80)
    assert "long" not in crowd.order[:40]
    assert 8 <= crowd.order.count("long") <= 12


def test_interactive_comes_before_batch_but_batch_is_never_starved() -> None:
    async def scenario() -> None:
        crowd = Crowd(*full(8, clock))
        for _ in range(30):
            crowd.ask("batch", priority=BATCH)
        for _ in range(100):
            crowd.ask("chat 1")
            crowd.ask("chat 2")
        crowd.serve(40)
        assert "batch" not in crowd.order
        begun = len(crowd.order)
        await asyncio.sleep(AGE_SECONDS)
        crowd.serve(80)
        assert crowd.order[begun:].count("batch") in {10, 11}  # one in eight

    run(scenario())


def test_batches_leave_a_quarter_of_the_slots() -> None:
    queue = FairQueue(8)
    turns = [queue.try_enter(f"batch {i}", 1, BATCH) for i in range(8)]
    assert sum(turn is not None for turn in turns) == 6
    assert queue.try_enter("chat", 1) is not None


def test_a_wait_is_bounded() -> None:
    async def scenario() -> None:
        queue, _ = full(3, clock, seconds=20.0)
        begun = clock()
        with pytest.raises(Unavailable) as refused:
            await queue.enter("late", 100)
        assert clock() - begun == pytest.approx(20)
        assert refused.value.code == "engine_busy"
        assert refused.value.retry_after > 0
        assert queue.waiting == 0

    run(scenario())


@given(st.lists(st.sampled_from(["cancel", "leave", "yield"]), max_size=40), st.integers(1, 3))
@settings(deadline=None)
def test_clients_that_go_leave_no_slot_behind(steps: list[str], capacity: int) -> None:
    async def scenario() -> None:
        queue, running = full(capacity, clock)

        async def use(number: int) -> None:
            running.append(await queue.enter(f"t{number % 3}", 10))

        tasks = [asyncio.create_task(use(number)) for number in range(12)]
        await asyncio.sleep(0)
        for step in steps:
            if step == "cancel" and tasks:
                tasks.pop(len(tasks) // 2).cancel()
            elif step == "leave" and running:
                running.pop().leave(5)  # and perhaps its heir is cancelled before it wakes
            else:
                await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        for turn in running:
            turn.leave()
        assert queue.running == queue.waiting == 0

    run(scenario())
