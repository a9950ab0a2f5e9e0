"""The slots of one engine, shared between tenants by tokens; see docs/limits.md."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from time import monotonic

from tunesmith.platform.domain.errors import Unavailable

from .tenant_line import Priority, TenantLine
from .turn import Turn
from .virtual_time import VirtualTime

RESERVE = 0.2
"""Part of the slots, one at least, that are for tenants who had less than their share: fewer slots
than others now, or fewer tokens of late. Who arrives in a flood of another's finds one free. The
part is from `tests/benchmarks/fairness`: it costs some per cent of an engine's tokens a second."""

BURST = 0.5
"""How far a tenant may be ahead that had less than its share before: so many requests a slot."""

BATCH_RESERVE = 0.25
"""Part of the slots that batches leave to interactive requests, one at least."""

AGE_SECONDS = 30.0
"""A batch's request that waited for so long gets past interactive ones, now and then: ..."""

_AGED_EVERY = 8
"""... one in so many requests, on at most this part of the slots."""

_RETRY_AFTER = 5


class FairQueue:
    """Slots of one engine. For one event loop.

    Args:
        capacity: requests that the engine works on at once.
        clock: seconds.
        seconds: longest wait for a turn.
    """

    def __init__(
        self, capacity: int, clock: Callable[[], float] = monotonic, *, seconds: float = 60.0
    ) -> None:
        self.capacity = capacity
        self.running = 0
        self.waiting = 0
        self._clock = clock
        self._seconds = seconds
        self._open_most = max(1, capacity - max(1, ceil(capacity * RESERVE)))
        self._batch_most = max(1, capacity - max(1, ceil(capacity * BATCH_RESERVE)))
        self._aged_most = max(1, capacity // _AGED_EVERY)
        burst = capacity * BURST
        self._times = (VirtualTime(burst), VirtualTime(burst))
        self._held: dict[str, int] = {}
        self._batches: OrderedDict[Turn, None] = OrderedDict()
        self._batches_running = 0
        self._since_batch = 0

    def try_enter(
        self,
        tenant_id: str,
        cost: float,
        priority: Priority = Priority.INTERACTIVE,
        weight: float = 1.0,
    ) -> Turn | None:
        """A turn now, where there is room and nobody is passed over; else None.

        Args:
            cost: tokens that the request is thought to take, prompt and answer.
            weight: a tenant of weight 2 gets twice the tokens of one of weight 1.
        """
        if self.running >= self.capacity or self._held.get(tenant_id, 0) >= self._open_most:
            return None
        # A slot is free: who waits all the same may not have it, or is of this tenant's line.
        if priority is Priority.BATCH and (self._batches or not self._has_room_for_batches()):
            return None
        time = self._times[priority]
        line = time.lines.get(tenant_id) or time.line(tenant_id)
        if line.waiting or not self._is_open_to(line, time):
            return None
        turn = Turn(self, line, cost=cost, priority=priority, weight=weight, arrived=self._clock())
        time.begin(line, cost / weight)
        self._give_slot(turn)
        return turn

    async def enter(
        self,
        tenant_id: str,
        cost: float,
        priority: Priority = Priority.INTERACTIVE,
        weight: float = 1.0,
    ) -> Turn:
        """A turn, waited for where need be; a wait that is cancelled leaves the line.

        Raises:
            Unavailable: its turn did not come in time.
        """
        turn = self.try_enter(tenant_id, cost, priority, weight)
        if turn is not None:
            return turn
        came = asyncio.Event()
        turn = self.line_up(tenant_id, cost, came.set, priority, weight)
        try:
            async with asyncio.timeout(self._seconds):
                await came.wait()
        except TimeoutError:
            turn.leave(0)
            raise Unavailable(
                f"The engine is busy: this request waited {self._seconds:g} seconds for its turn."
                " Try again later, or send fewer requests at once.",
                retry_after=_RETRY_AFTER,
                code="engine_busy",
            ) from None
        except BaseException:  # cancelled: the client has gone; the slot may just have come
            turn.leave(0)
            raise
        return turn

    def line_up(
        self,
        tenant_id: str,
        cost: float,
        on_turn: Callable[[], object],
        priority: Priority = Priority.INTERACTIVE,
        weight: float = 1.0,
    ) -> Turn:
        """Wait for a turn, of which `on_turn` tells; for those whom `try_enter` gave none."""
        time = self._times[priority]
        line = time.line(tenant_id)
        turn = Turn(
            self,
            line,
            cost=cost,
            priority=priority,
            weight=weight,
            arrived=self._clock(),
            on_turn=on_turn,
        )
        line.waiting[turn] = None
        self.waiting += 1
        if priority is Priority.BATCH:
            self._batches[turn] = None
        if len(line.waiting) == 1:
            time.wake(line)
        self._serve()
        return turn

    def left(self, turn: Turn, actual_cost: float) -> None:
        """`turn` is given up: see `Turn.leave`."""
        line, time = turn.line, self._times[turn.priority]
        if not turn.has_slot:
            del line.waiting[turn]
            self._batches.pop(turn, None)
            self.waiting -= 1
            return
        self.running -= 1
        if turn.priority is Priority.BATCH:
            self._batches_running -= 1
        tenant_id = line.tenant_id
        held = self._held[tenant_id] = self._held[tenant_id] - 1
        if not held:
            del self._held[tenant_id]
        time.end(line, (actual_cost - turn.cost) / turn.weight)
        if held == self._open_most - 1:
            for each in self._times:
                resting = each.lines.get(tenant_id)
                if resting is not None and resting.aside:
                    each.wake(resting)
        self._serve()

    def _serve(self) -> None:
        """Give free slots to those whose turn it is."""
        while self.waiting and self.running < self.capacity:
            line, priority = self._next()
            if line is None:
                return
            turn, _ = line.waiting.popitem(last=False)
            self._batches.pop(turn, None)
            self.waiting -= 1
            self._times[priority].begin_first(line, turn.cost / turn.weight)
            self._give_slot(turn)
            if turn.on_turn is not None:
                turn.on_turn()

    def _give_slot(self, turn: Turn) -> None:
        turn.has_slot = True
        self.running += 1
        tenant_id = turn.line.tenant_id
        self._held[tenant_id] = self._held.get(tenant_id, 0) + 1
        if turn.priority is Priority.BATCH:
            self._batches_running += 1
            self._since_batch = 0
        else:
            self._since_batch += 1

    def _next(self) -> tuple[TenantLine | None, Priority]:
        if self._is_batch_due():
            line = self._first_that_may(Priority.BATCH)
            if line is not None:
                return line, Priority.BATCH
        line = self._first_that_may(Priority.INTERACTIVE)
        if line is None and self._has_room_for_batches():
            return self._first_that_may(Priority.BATCH), Priority.BATCH
        return line, Priority.INTERACTIVE

    def _first_that_may(self, priority: Priority) -> TenantLine | None:
        """The line that is next and whose tenant may have one slot more.

        A tenant may have most slots, so while one is free at most one tenant stands aside.
        """
        time = self._times[priority]
        while (line := time.first()) is not None:
            if self._held.get(line.tenant_id, 0) < self._open_most:
                # The first has the most credit: where it has none, nobody has.
                return line if self._is_open_to(line, time) else None
            time.put_aside(line)
        return None

    def _is_open_to(self, line: TenantLine, time: VirtualTime) -> bool:
        """Whether a free slot may be this line's: the last ones are not anybody's."""
        if self.running < self._open_most or time.has_credit(line):
            return True
        # An equal part, with one more tenant than there are: even so a slot is left for it.
        return self._held.get(line.tenant_id, 0) < self.capacity // (len(self._held) + 1)

    def _has_room_for_batches(self) -> bool:
        return self.running < self._batch_most

    def _is_batch_due(self) -> bool:
        if (
            not self._batches
            or self._since_batch < _AGED_EVERY - 1
            or self._batches_running >= self._aged_most
        ):
            return False
        oldest = next(iter(self._batches))
        return self._clock() - oldest.arrived >= AGE_SECONDS
