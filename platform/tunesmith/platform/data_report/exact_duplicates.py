"""Rows that say exactly what another row says."""

from __future__ import annotations

from .finding import Finding, Severity
from .normal_text import folded, shortened
from .table import Table

WARNS_AT = 0.05
"""Share of copies from which they are more than an oversight: each weighs as one epoch more."""


def duplicate_groups(table: Table) -> list[list[int]]:
    """0-based rows that are the same apart from case and white space, two or more to a group."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(zip(table.inputs, table.answers, table.rejected, strict=True)):
        groups.setdefault((folded(key[0]), folded(key[1]), folded(key[2])), []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def check_exact_duplicates(table: Table) -> list[Finding]:
    """One finding about all copies; the first of each group is the original."""
    groups = duplicate_groups(table)
    copies = [table.lines[row] for rows in groups for row in rows[1:]]
    if not copies:
        return []
    first = groups[0]
    share = len(copies) / len(table)
    return [
        Finding.of_rows(
            "exact_duplicates",
            Severity.WARNS if share >= WARNS_AT else Severity.NOTE,
            copies,
            len(table),
            message=f"{len(copies):,} rows ({share:.1%}) repeat another row word for word.",
            advice="Remove the copies: they weigh more than other rows and teach nothing new.",
            example=(
                f"lines {', '.join(str(table.lines[row]) for row in first[:5])}:"
                f" {shortened(table.prompts[first[0]])}"
            ),
            details={"groups": len(groups)},
        )
    ]
