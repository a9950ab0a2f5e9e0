"""The breaker as a state machine, against the rules that it promises."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tunesmith.gateway.engines.breaker import (
    FAILURES,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    Breaker,
    BreakerState,
)


class BreakerMachine(RuleBasedStateMachine):
    """Requests that come and end in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 1000.0
        self.in_a_row = 0

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.allows(self.now))
    @rule()
    def a_request_goes(self) -> None:
        closed = self.breaker.state is BreakerState.CLOSED
        self.breaker.took(self.now)
        assert self.breaker.allows(self.now) == closed, "only one request tries"

    @rule()
    def one_succeeds(self) -> None:
        self.breaker.succeeded()
        self.in_a_row = 0
        assert self.breaker == Breaker()

    @rule()
    def one_fails(self) -> None:
        before = self.breaker.state
        self.breaker.failed(self.now)
        self.in_a_row += 1
        if before is BreakerState.HALF_OPEN:
            assert self.breaker.state is BreakerState.OPEN
            assert not self.breaker.allows(self.now)

    @invariant()
    def it_opens_after_so_many(self) -> None:
        closed = self.breaker.state is BreakerState.CLOSED
        assert closed == (self.in_a_row < FAILURES)
        assert self.breaker.allows(self.now) or not closed

    @invariant()
    def it_lets_one_try_before_long(self) -> None:
        assert PAUSE_SECONDS <= self.breaker.pause <= LONGEST_PAUSE_SECONDS
        assert self.breaker.allows(self.now + LONGEST_PAUSE_SECONDS)


TestBreaker = BreakerMachine.TestCase


def test_pauses_grow_while_tries_fail() -> None:
    breaker, now, pauses = Breaker(), 10.0, []
    for _ in range(FAILURES):
        breaker.failed(now)
    for _ in range(8):
        pauses.append(breaker.next_try - now)
        now = breaker.next_try
        breaker.took(now)
        breaker.failed(now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
