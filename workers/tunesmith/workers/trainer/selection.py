"""Which validation was the best, and whether it is time to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Selection:
    """Early stopping and the choice of the best step, by validation loss.

    Attributes:
        patience: validations in a row that may be no better than the best; None to go on always.
        best_loss, best_step: the lowest loss so far and its step; None before the first.
        worse: validations since then.
    """

    patience: int | None
    best_loss: float | None = None
    best_step: int | None = None
    worse: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.worse >= self.patience

    def consider(self, step: int, loss: float) -> bool:
        """Take in a validation; whether it is the best so far."""
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.best_step, self.worse = loss, step, 0
            return True
        self.worse += 1
        return False

    def values(self) -> dict[str, Any]:
        """What to go on from, as JSON values."""
        return {"best_loss": self.best_loss, "best_step": self.best_step, "worse": self.worse}
