"""What is wrong with an examples file: every problem with its line and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.platform.domain.errors import InvalidRequest, TunesmithError

from .limits import PROBLEMS_SHOWN


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    `line` is the physical line in the user's file, from 1 (for CSV, the line on which the row
    starts), or None where the whole file is meant. `message` says what is wrong and what to do.
    """

    line: int | None
    message: str

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


class ExamplesError(InvalidRequest):
    """The file cannot be learned from as it is (400).

    `problems` are the first ones in the order of the file, `total` how many there are.
    """

    default_code = "invalid_examples"

    def __init__(
        self, filename: str, problems: Sequence[Problem], total: int | None = None
    ) -> None:
        self.filename = filename
        self.problems = tuple(problems)
        self.total = len(self.problems) if total is None else total
        super().__init__(self._sentence(), param="file")

    def __reduce__(self) -> tuple[type[ExamplesError], tuple[object, ...]]:
        # An exception crosses process borders; the default would pass the message alone.
        return type(self), (self.filename, self.problems, self.total)

    def _sentence(self) -> str:
        name = self.filename if len(self.filename) <= 100 else self.filename[:97] + "..."
        if self.total == 1:
            only = self.problems[0]
            return f"{name}: {only}" if only.line is None else f"{name}, {only}"
        lines = [f"{name} has {self.total:,} problems:", *(f"  {p}" for p in self.problems)]
        if self.total > len(self.problems):
            lines.append(f"  and {self.total - len(self.problems):,} more like these.")
        return "\n".join(lines)


class DamagedExamples(TunesmithError):
    """Normalised examples that the platform itself stored do not read back: storage lost them."""

    default_code = "damaged_examples"


class Refusal(Exception):
    """One row cannot be used; the reader adds the line. Never leaves this package."""


class Unreadable(Exception):
    """Nothing after this point of the file can be trusted. Never leaves this package."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class ProblemList:
    """Collects problems: the first few in full, the others as a count."""

    def __init__(self, limit: int = PROBLEMS_SHOWN) -> None:
        self.limit = limit
        self.total = 0
        self.first: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """Count `problem`, and keep it when it is among the first."""
        self.total += 1
        if len(self.first) < self.limit:
            self.first.append(problem)

    def error(self, filename: str) -> ExamplesError:
        """All of it as one error."""
        return ExamplesError(filename, self.first, self.total)
