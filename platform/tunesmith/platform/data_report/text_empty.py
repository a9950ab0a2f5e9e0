"""Answers that say nothing: empty, a dash, "n/a"."""

from __future__ import annotations

import unicodedata
from collections import Counter

from .finding import Finding, Severity
from .labels import is_categorical
from .table import Table

_PLACEHOLDERS = frozenset(
    [
        "n/a",
        "n.a.",
        "n.a",
        "n\\a",
        "#n/a",
        "#na",
        "nan",
        "<na>",
        "tbd",
        "t.b.d.",
        "tba",
        "todo",
        "to-do",
        "fixme",
        "xxx",
        "lorem",
        "ipsum",
        "<empty>",
        "(empty)",
        "[empty]",
        "<blank>",
        "(blank)",
        "[blank]",
        "<null>",
        "(null)",
        "<none>",
        "#ref!",
        "#value!",
        "#name?",
        "k.a.",
        "k.a",
        "n.v.",
        "undefined",
    ]
)
"""What stands for "nothing here" whatever the file is about; "k.A." and "n.v." are German."""

_WORDS = frozenset(("na", "none", "null", "nil", "empty", "blank", "missing", "no answer"))
"""The same, but of categories also honest labels."""

_LABEL_SHARE = 0.05
"""From this share of a file of categories a sign like "+" or "n/a" is taken for one of them."""

_LONGEST = 16
"""Characters: no placeholder is longer, so that longer answers are passed over quickly."""


def check_empty(table: Table) -> list[Finding]:
    """One finding about the answers that say nothing."""
    rows = empty_rows(table)
    if not rows:
        return []
    return [
        Finding.of_rows(
            "empty_answers",
            Severity.WARNS,
            [table.lines[row] for row in rows],
            len(table),
            message=f"{len(rows):,} answers say nothing: they are empty, a mere sign, or stand for"
            " a missing value.",
            advice="Write the answers or remove the rows: the model would learn to say nothing.",
            example=repr(table.answers[rows[0]]),
        )
    ]


def empty_rows(table: Table) -> list[int]:
    """The 0-based rows whose answer says nothing."""
    short = [
        (row, answer.strip().casefold())
        for row, answer in enumerate(table.answers)
        if len(answer) <= _LONGEST or not answer.strip()
    ]
    labels: frozenset[str] = frozenset()
    categorical = bool(short) and is_categorical(table.answers)
    if categorical:
        counts = Counter(answer for _, answer in short)
        labels = frozenset(
            answer for answer, count in counts.items() if count >= _LABEL_SHARE * len(table)
        )
    return [
        row
        for row, answer in short
        if answer not in labels and _is_nothing(answer, categorical=categorical)
    ]


def _is_nothing(answer: str, *, categorical: bool) -> bool:
    if answer in _PLACEHOLDERS or (not categorical and answer.rstrip(".") in _WORDS):
        return True
    # Letters, digits and symbols (an emoji, a plus) say something; punctuation does not.
    return all(
        unicodedata.category(character)[0] in "PZCM" or character in "~^`|" for character in answer
    )
