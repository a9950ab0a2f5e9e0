"""A request's turn at an engine: waited for, had, and ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .tenant_line import Priority, TenantLine

if TYPE_CHECKING:
    from .fair_queue import FairQueue


class Turn:
    """A place in the line, then a slot of the engine; to be left once, however it ends.

    Args:
        cost: tokens that the request is thought to take.
        on_turn: called when it gets its slot, if it had to wait.
    """

    __slots__ = ("_queue", "arrived", "cost", "has_slot", "line", "on_turn", "priority", "weight")

    def __init__(
        self,
        queue: FairQueue,
        line: TenantLine,
        *,
        cost: float,
        priority: Priority,
        weight: float,
        arrived: float,
        on_turn: Callable[[], object] | None = None,
    ) -> None:
        self._queue: FairQueue | None = queue
        self.line = line
        self.cost = cost
        self.priority = priority
        self.weight = weight
        self.arrived = arrived
        self.on_turn = on_turn
        self.has_slot = False

    def leave(self, actual_cost: float | None = None) -> None:
        """Give the slot to the next, or leave the line; a second call does nothing.

        Args:
            actual_cost: tokens that it took; where not known, the estimate stands.
        """
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.left(self, self.cost if actual_cost is None else actual_cost)
