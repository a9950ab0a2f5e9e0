"""The same input with different answers: what no model can learn.

Light on purpose: the training preparation calls `find_contradictions` for every job.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.platform.examples import ExamplesKind

from .finding import Finding, Severity
from .labels import is_categorical, normalised_label
from .normal_text import folded, shortened
from .table import Table

BLOCKS_ABOVE = 0.2
"""Share of rows in a contradiction above which training makes no sense."""


@dataclass(frozen=True)
class Contradictions:
    """What contradicts itself in a data set.

    Attributes:
        groups: 0-based rows with one input and at least two answers, a list to an input.
        rows: of the data set.
        exclusive: whether of two answers one must be wrong: of labels and preferences. A text may
            be put in many ways, and a file that shows them for one prompt teaches a manner.
    """

    groups: list[list[int]]
    rows: int
    exclusive: bool

    @property
    def count(self) -> int:
        """Rows in a contradiction."""
        return sum(map(len, self.groups))

    @property
    def share(self) -> float:
        """Of all rows, 0 to 1."""
        return self.count / self.rows if self.rows else 0.0

    @property
    def blocks(self) -> bool:
        """Whether so much is contradictory that training makes no sense."""
        return self.exclusive and self.share > BLOCKS_ABOVE


def find_contradictions(table: Table) -> Contradictions:
    """The rows whose input another row answers differently.

    Inputs are the same where only case and white space differ; answers also where only a full
    stop or quotes do. Of preferences, an answer that one row prefers and another one with the
    same input rejects.
    """
    by_input: dict[str, list[int]] = {}
    for row, text in enumerate(table.inputs):
        by_input.setdefault(folded(text), []).append(row)
    groups = [rows for rows in by_input.values() if len(rows) > 1 and _contradict(table, rows)]
    exclusive = table.kind is ExamplesKind.PREFERENCES or is_categorical(table.answers)
    return Contradictions(groups, len(table), exclusive)


def _contradict(table: Table, rows: list[int]) -> bool:
    answers = {normalised_label(table.answers[row]) for row in rows}
    if any(table.rejected[row] for row in rows):
        return bool(answers & {normalised_label(table.rejected[row]) for row in rows})
    return len(answers) > 1


def check_contradictions(table: Table) -> list[Finding]:
    """One finding about all of them; it blocks when more than 20 % of labels are concerned."""
    found = find_contradictions(table)
    if not found.groups:
        return []
    group = found.groups[0]
    answers = list(dict.fromkeys(shortened(table.answers[row], 60) for row in group))[:4]
    return [
        Finding.of_rows(
            "contradictions",
            Severity.BLOCKS if found.blocks else Severity.WARNS,
            [table.lines[row] for rows in found.groups for row in rows],
            len(table),
            message=(
                f"{found.count:,} rows ({found.share:.1%}) ask what another row asks and answer it"
                f" differently ({len(found.groups):,} inputs)."
            ),
            advice=(
                "Decide which answer is right and remove the others; where both are right, put"
                " what tells them apart into the input."
            ),
            example=f"{shortened(table.prompts[group[0]])} → {' | '.join(answers)}",
            details={
                "inputs": len(found.groups),
                "lines": [[table.lines[row] for row in rows[:10]] for rows in found.groups[:20]],
            },
        )
    ]
