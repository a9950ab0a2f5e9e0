"""Rows that say nearly what another row says: a word more, a typing error, other punctuation."""

from __future__ import annotations

from collections.abc import Sequence

from .finding import Finding, Severity
from .normal_text import shortened, words_of
from .table import Table

WARNS_AT = 0.1
"""Share of copies from which they are more than a habit of speech."""

_ANSWERS_ALIKE = 85.0


def near_duplicate_groups(table: Table, leave_out: Sequence[int] = ()) -> list[list[int]]:
    """0-based rows that are nearly the same, two or more to a group.

    Args:
        leave_out: rows that are known to be copies of others.
    """
    import numpy as np
    from rapidfuzz.fuzz import ratio

    from .similarity import connected, similar_pairs

    without = set(leave_out)
    by_words: dict[str, list[int]] = {}
    for row, text in enumerate(table.questions):
        if row not in without:
            by_words.setdefault(words_of(text), []).append(row)
    by_words.pop("", None)
    texts = list(by_words)
    pairs = similar_pairs(texts)
    rows_of = list(by_words.values())
    linked: list[tuple[int, int]] = []
    for rows in rows_of:
        linked += [(rows[0], row) for row in rows[1:]]
    linked += [(rows_of[a][0], rows_of[b][0]) for a, b in pairs.tolist()]

    def answers_alike(one: int, other: int) -> bool:
        first, second = words_of(table.answers[one]), words_of(table.answers[other])
        return first == second or (
            min(len(first), len(second)) >= 20 and ratio(first, second) >= _ANSWERS_ALIKE
        )

    alike = [(min(pair), max(pair)) for pair in linked if answers_alike(*pair)]
    return connected(np.asarray(alike, dtype=np.int64).reshape(-1, 2), len(table))


def check_near_duplicates(table: Table, groups: list[list[int]]) -> list[Finding]:
    """One finding about `near_duplicate_groups`; the first of each group is the original."""
    copies = [table.lines[row] for rows in groups for row in rows[1:]]
    if not copies:
        return []
    one, other = groups[0][:2]
    share = len(copies) / len(table)
    return [
        Finding.of_rows(
            "near_duplicates",
            Severity.WARNS if share >= WARNS_AT else Severity.NOTE,
            copies,
            len(table),
            message=f"{len(copies):,} rows ({share:.1%}) are nearly the same as another row.",
            advice="Keep one of each group, the best; variety teaches more than repetition.",
            example=(
                f"lines {table.lines[one]} and {table.lines[other]}:"
                f" {shortened(table.prompts[one])} ≈ {shortened(table.prompts[other])}"
            ),
            details={
                "groups": len(groups),
                "lines": [[table.lines[row] for row in rows[:10]] for rows in groups[:20]],
            },
        )
    ]
