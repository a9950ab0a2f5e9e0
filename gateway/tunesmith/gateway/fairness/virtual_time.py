"""Start-time fair queueing over tenants (Goyal, Vin, Cheng 1996), for several slots.

Each request has a start tag, the later of the virtual time at its arrival and the end of the
tenant's request before it, which is its start plus tokens over weight. The smallest start tag goes
first; the virtual time is the largest start tag that went. With several slots this is SFQ(D) (Jin,
Chase, Kaur 2004).

One thing is added: a tenant that had less than its share may begin behind the virtual time, by
`burst` mean requests at most (as the warp of borrowed virtual time; Duda, Cheriton 1999). Without
it, a tenant that stays within its share on average would wait at each burst of its own as if it
had an engine of its share's size to itself; with it, the burst comes before whoever has had more.
"""

from __future__ import annotations

import heapq

from .tenant_line import TenantLine

_SWEEP = 1024
_WEIGHT = 1 / 64


class VirtualTime:
    """The lines of one priority, and which is next."""

    def __init__(self, burst: float) -> None:
        self._burst = burst
        self._mean = 0.0
        self.lines: dict[str, TenantLine] = {}
        self._heap: list[tuple[float, int, TenantLine]] = []
        self._now = 0.0
        self._entries = 0
        self._ends = 0
        self._running = 0

    def line(self, tenant_id: str) -> TenantLine:
        """A tenant's line; a new one starts now."""
        line = self.lines.get(tenant_id)
        if line is None:
            line = self.lines[tenant_id] = TenantLine(tenant_id, self._earliest())
        return line

    def has_credit(self, line: TenantLine) -> bool:
        """Whether `line` is a mean request behind, having had less than its share of late."""
        return max(line.finish, self._earliest()) <= self._now - self._mean

    def _earliest(self) -> float:
        return self._now - self._burst * self._mean

    def wake(self, line: TenantLine) -> None:
        """`line` begins to wait, or goes on after it stood aside."""
        line.aside = False
        line.finish = max(line.finish, self._earliest())
        self._queue(line)

    def first(self) -> TenantLine | None:
        """The waiting line whose start tag is the smallest, but those that stand aside."""
        heap = self._heap
        while heap:
            _, entry, line = heap[0]
            if entry == line.entry and line.waiting:
                return line
            heapq.heappop(heap)
        return None

    def put_aside(self, line: TenantLine) -> None:
        """Pass over `line` until it is woken."""
        line.aside = True
        line.entry = 0

    def begin(self, line: TenantLine, cost: float) -> None:
        """A request of `cost` (tokens over weight) goes to an engine past no waiting one."""
        line.finish = max(line.finish, self._earliest())
        self.begin_first(line, cost)

    def begin_first(self, line: TenantLine, cost: float) -> None:
        """The first request of `line`, taken out of it, goes to an engine."""
        self._now = max(self._now, line.finish)
        self._mean += (cost - self._mean) * _WEIGHT if self._mean else cost
        line.finish += cost
        line.running += 1
        self._running += 1
        self._queue(line)

    def end(self, line: TenantLine, correction: float) -> None:
        """A request has ended, and cost so much more (tokens over weight) than was thought."""
        line.running -= 1
        self._running -= 1
        if correction:
            line.finish += correction
            self._queue(line)
        self._ends += 1
        if self._ends % _SWEEP == 0 or not self._running:
            self.lines = {one.tenant_id: one for one in self.lines.values() if self._counts(one)}

    def _queue(self, line: TenantLine) -> None:
        if line.waiting and not line.aside:
            self._entries += 1
            line.entry = self._entries
            heapq.heappush(self._heap, (line.finish, line.entry, line))

    def _counts(self, line: TenantLine) -> bool:
        """Whether `line` is more than a new one; nobody owes anything to an idle engine."""
        return bool(
            line.running or line.waiting or (self._running and line.finish > self._earliest())
        )
