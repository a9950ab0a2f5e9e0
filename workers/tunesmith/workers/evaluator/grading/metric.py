"""What every metric can do. Texts in, scores from 0 to 1 out; tool calls come as JSON texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Figure:
    """A figure beside the one that decides, over all examples."""

    name: str
    value: float
    higher_is_better: bool = True


class Metric(Protocol):
    """Scores an answer against a reference.

    Attributes:
        name: as people read it.
        kind: as programs read it.
        binary: whether scores are 0 or 1.
        passes: from which score on an answer counts as passed.
    """

    name: str
    kind: str
    binary: bool
    passes: float

    def score(self, reference: str, answer: str) -> float:
        """The score of one answer, 0 to 1."""
        ...

    def figures(self, references: Sequence[str], answers: Sequence[str]) -> list[Figure]:
        """Further figures over all answers."""
        ...
