"""Whose job is next: the rule of `tunesmith.platform.jobs.queue.claim`, in memory."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from itertools import count
from typing import Generic, TypeVar

_Job = TypeVar("_Job")


class Turns(Generic[_Job]):
    """Jobs by tenant. Next is the tenant with the fewest in work, of them the one served longest
    ago; within a tenant, first come first served.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, deque[_Job]] = {}
        self._in_work: Counter[int] = Counter()
        self._served: dict[int, int] = {}
        self._clock = count(1)
        self._order: list[tuple[int, int, int]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, tenant: int, job: _Job) -> None:
        """A job comes to wait."""
        queue = self._waiting.setdefault(tenant, deque())
        queue.append(job)
        self._length += 1
        if len(queue) == 1:
            self._enter(tenant)

    def take(self) -> tuple[int, _Job]:
        """The tenant whose turn it is, and its job, which is in work from now on.

        Raises:
            IndexError: nothing waits.
        """
        while True:
            in_work, served, tenant = heapq.heappop(self._order)
            current = (self._in_work[tenant], self._served.get(tenant, 0))
            # An entry that is not up to date has a newer one beside it.
            if self._waiting.get(tenant) and current == (in_work, served):
                break
        queue = self._waiting[tenant]
        job = queue.popleft()
        self._length -= 1
        self._in_work[tenant] += 1
        self._served[tenant] = next(self._clock)
        if queue:
            self._enter(tenant)
        else:
            del self._waiting[tenant]
        return tenant, job

    def ended(self, tenant: int) -> None:
        """A job of this tenant is in work no more."""
        self._in_work[tenant] -= 1
        if not self._in_work[tenant]:
            del self._in_work[tenant]
        if self._waiting.get(tenant):
            self._enter(tenant)

    def _enter(self, tenant: int) -> None:
        entry = (self._in_work[tenant], self._served.get(tenant, 0), tenant)
        heapq.heappush(self._order, entry)
