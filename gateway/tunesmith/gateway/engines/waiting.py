"""Requests that wait: for an engine, or for a turn at one. What scales engines goes by this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Waiting:
    """Counts by base; a base that was waited for once stays, at 0."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}

    @contextmanager
    def for_base(self, base: str) -> Iterator[None]:
        """One more waits for `base` in the block."""
        self.now[base] = self.now.get(base, 0) + 1
        try:
            yield
        finally:
            self.now[base] -= 1
