"""Which rows a step takes: a pure function of seed and step, never replayed and never skipped."""

from __future__ import annotations

import hashlib
import math


def derived_seed(*parts: object) -> int:
    """A 63-bit seed from any values, the same on every machine and library version."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class DataOrder:
    """The data cursor of a slot: everything follows from the 0-based step.

    Args:
        rows: number of training items.
        batch_size: items per step; the last step of an epoch takes what is left.
        n_epochs: passes.
        seed: the slot's seed.
    """

    def __init__(self, rows: int, batch_size: int, n_epochs: int, seed: int) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self.steps_per_epoch = math.ceil(rows / batch_size)
        self.total_steps = n_epochs * self.steps_per_epoch
        self._latest: tuple[int, list[int]] = (-1, [])

    def epoch(self, step: int) -> int:
        """0-based epoch of a step."""
        return step // self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        return (step + 1) % self.steps_per_epoch == 0

    def order(self, epoch: int) -> list[int]:
        """The permutation of row indices in one epoch: indices sorted by their own hash."""
        if self._latest[0] != epoch:
            seed = self._seed
            indices = range(self._rows)
            self._latest = (
                epoch,
                sorted(indices, key=lambda row: derived_seed(seed, "order", epoch, row)),
            )
        return self._latest[1]

    def batch(self, step: int) -> list[int]:
        """Row indices of a step."""
        start = step % self.steps_per_epoch * self._batch_size
        return self.order(self.epoch(step))[start : start + self._batch_size]
