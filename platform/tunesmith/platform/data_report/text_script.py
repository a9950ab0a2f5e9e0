"""Answers in another script than the others: Cyrillic among Latin, say."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache

from .finding import Finding, Severity
from .labels import is_categorical
from .normal_text import shortened
from .table import Table

_MAJORITY = 0.8
"""Share of answers that one script must have, or the file is one of several scripts."""

_FOREIGN = 0.4
"""Share of an answer's letters in another script from which it is in that script: below, it is a
name or a quotation."""

_FEWEST_LETTERS = 3

_EAST_ASIAN = frozenset(("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "BOPOMOFO", "IDEOGRAPHIC"))


def check_script(table: Table, rows: list[int] | None = None) -> list[Finding]:
    """One finding about `rows`, those of `other_script_rows`."""
    found = other_script_rows(table) if rows is None else rows
    if not found:
        return []
    return [
        Finding.of_rows(
            "other_script",
            Severity.WARNS,
            [table.lines[row] for row in found],
            len(table),
            message=f"{len(found):,} answers are written in another script than the others.",
            advice="Translate them or remove the rows, unless the model is to answer so.",
            example=shortened(table.answers[found[0]]),
        )
    ]


def other_script_rows(table: Table) -> list[int]:
    """The 0-based rows whose answer is in another script than most; none where none prevails."""
    scripts = [_main_script(answer) for answer in table.answers]
    counts = Counter(script for script in scripts if script is not None)
    if len(counts) < 2 or is_categorical(table.answers):
        return []
    majority, count = counts.most_common(1)[0]
    if count < _MAJORITY * counts.total():
        return []
    return [row for row, script in enumerate(scripts) if script is not None and script != majority]


def _main_script(text: str) -> str | None:
    """The script of a text: the commonest other than Latin from 40 % of the letters on."""
    if text.isascii():
        return "LATIN" if text.lower() != text.upper() else None
    counts: Counter[str] = Counter()
    for character, times in Counter(text[:2000]).items():
        script = _script_of(character)
        if script is not None:
            counts[script] += times
    letters = counts.total()
    if letters < _FEWEST_LETTERS:
        return None
    foreign = counts.copy()
    del foreign["LATIN"]
    if foreign:
        script, times = foreign.most_common(1)[0]
        if times >= _FOREIGN * letters:
            return script
    return "LATIN" if counts["LATIN"] else None


@cache
def _script_of(character: str) -> str | None:
    """The script of a letter, by the first word of its Unicode name; None of other characters."""
    if not character.isalpha():
        return None
    script = unicodedata.name(character, "").partition(" ")[0]
    if script in _EAST_ASIAN:
        return "EAST ASIAN"
    # Signs such as ª and full-width or mathematical letters belong to no script of their own.
    return "LATIN" if script in {"FEMININE", "MASCULINE", "MATHEMATICAL", "FULLWIDTH"} else script
