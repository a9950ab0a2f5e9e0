"""One engine as the gateway sees it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class EngineStatus(StrEnum):
    """Whether requests are sent to an engine."""

    UNKNOWN = "unknown"  # not yet looked at
    UP = "up"
    DOWN = "down"


@dataclass(eq=False)
class Engine:
    """A vLLM server at `url`, and what is known of it.

    `bases` are the names under which it serves its base, `adapters` the digests that it was seen
    to serve since it came up, the last used last (a guess: it may have evicted some).
    """

    url: str
    status: EngineStatus = EngineStatus.UNKNOWN
    reason: str = "It was not looked at yet."
    bases: frozenset[str] = frozenset()
    max_model_len: int | None = None
    in_flight: int = 0
    unanswered: int = 0
    adapters: OrderedDict[str, None] = field(default_factory=OrderedDict)
    look_again: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_up(self) -> bool:
        """Whether requests may be sent to it."""
        return self.status == EngineStatus.UP

    def may_serve(self, base: str) -> bool:
        """Whether it serves `base`, or could: one never seen up is unknown."""
        return not self.bases or base in self.bases

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Count a request as being in this engine."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def came_up(self, bases: frozenset[str], max_model_len: int | None) -> None:
        """It answers, and this is what it serves; it holds no adapter yet."""
        self.status = EngineStatus.UP
        self.reason = ""
        self.bases = bases
        self.max_model_len = max_model_len
        self.unanswered = 0
        self.adapters.clear()

    def went_down(self, reason: str) -> None:
        """It gets no requests until it is seen to be well."""
        self.status = EngineStatus.DOWN
        self.reason = reason
        self.adapters.clear()

    def served(self, digest: str, keep: int) -> None:
        """It answered for an adapter, so it holds it."""
        self.adapters[digest] = None
        self.adapters.move_to_end(digest)
        while len(self.adapters) > keep:
            self.adapters.popitem(last=False)
