"""Rows that are unlike all the others: of foreign words, or of an extraordinary length."""

from __future__ import annotations

from .finding import Finding, Severity
from .normal_text import shortened, words_of
from .table import Table

FEWEST_ROWS = 100
_SHORTEST = 4  # words, below which a share of them says nothing
_KNOWN = 3  # texts that must have a word before it counts as known
_FOREIGN = 0.6  # share of unknown words that is never normal
_FENCE = 3.0  # quartile ranges beyond the third quartile: Tukey's "far out" (1977)


def foreign_rows(table: Table) -> list[int]:
    """0-based rows most of whose words hardly any other row has.

    A word is known when three rows have it. A row is foreign when over 60 % of its different
    words are unknown, and far more of them than is usual in this file.
    """
    import numpy as np

    texts = [set(words_of(text).split()) for text in table.questions]
    frequency: dict[str, int] = {}
    for words in texts:
        for word in words:
            frequency[word] = frequency.get(word, 0) + 1
    unknown = np.asarray(
        [
            sum(frequency[word] < _KNOWN for word in words) / len(words)
            if len(words) >= _SHORTEST
            else 0.0
            for words in texts
        ]
    )
    return [int(row) for row in np.flatnonzero(unknown > max(_FOREIGN, _fence(unknown)))]


def overlong_rows(table: Table) -> list[int]:
    """0-based rows whose input or answer is far longer than is usual in this file."""
    import numpy as np

    found: set[int] = set()
    for texts in (table.questions, table.answers):
        lengths = np.log([max(len(text), 1) for text in texts])
        found |= set(np.flatnonzero(lengths > max(_fence(lengths), np.median(lengths) + 1.5)))
    return sorted(map(int, found))


def _fence(values: object) -> float:
    import numpy as np

    first, third = np.quantile(np.asarray(values), [0.25, 0.75])
    return float(third + _FENCE * (third - first))


def check_outliers(table: Table) -> list[Finding]:
    """At most two findings, none for fewer than 100 rows: too few to say what is usual."""
    if len(table) < FEWEST_ROWS:
        return []
    findings = []
    for check, rows, message, advice in (
        (
            "outliers",
            foreign_rows(table),
            "rows ({share:.1%}) use words that hardly any other row has.",
            "Check that they belong to the task; where they do, add more of their kind.",
        ),
        (
            "unusual_length",
            overlong_rows(table),
            "rows ({share:.1%}) are far longer than the others.",
            "Check that nothing was pasted into them by accident.",
        ),
    ):
        if not rows:
            continue
        share = len(rows) / len(table)
        findings.append(
            Finding.of_rows(
                check,
                Severity.NOTE,
                [table.lines[row] for row in rows],
                len(table),
                message=f"{len(rows):,} " + message.format(share=share),
                advice=advice,
                example=f"line {table.lines[rows[0]]}: {shortened(table.prompts[rows[0]])}",
            )
        )
    return findings
