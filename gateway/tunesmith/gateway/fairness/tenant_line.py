"""One tenant's requests that wait for an engine, and what it has had of it."""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .turn import Turn


class Priority(IntEnum):
    """Interactive requests come before those of batches."""

    INTERACTIVE = 0
    BATCH = 1


class TenantLine:
    """A tenant's line of one priority, first come first served.

    `finish` is the virtual time at which what it was given ends: its tokens over its weight. While
    requests wait, it is the start tag of the first of them.
    """

    __slots__ = ("aside", "entry", "finish", "running", "tenant_id", "waiting")

    def __init__(self, tenant_id: str, finish: float) -> None:
        self.tenant_id = tenant_id
        self.finish = finish
        self.waiting: OrderedDict[Turn, None] = OrderedDict()
        self.running = 0
        self.entry = 0
        """Number of the heap's entry that counts; older ones are void."""
        self.aside = False
        """Whether it is out of the heap because its tenant has all slots that it may have."""
