"""Answers that stop in the middle: of a sentence, of a code block, of a JSON value."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter

from .finding import Finding, Severity
from .labels import is_categorical
from .normal_text import shortened
from .table import Table

_PROPER_SHARE = 0.8
"""Share of the longer answers that must end properly before the others count as cut off."""

_FEWEST_WORDS = 4
_FEWEST_CHARACTERS = 16
"""A shorter answer is a label, a name or a heading: it needs no full stop."""

_REPEATED = 5
_FORMULA = 60
"""A text of at most so many characters that is given this often was written so on purpose."""

_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
_STOPS = ".!?…。！？｡؟۔।॥։:;"
_CLOSERS = "\"'”’»)]}*_`>）」』】›“‘"
_OPENERS = "([{,-–—/&+=<«„（「'\"“‘"
_TEXT_OF_DANGLING = """
the a an and or but of to for with from at by because your our their its is are was were
will would should that which if when und oder der die das den dem des ein eine einen einem
einer mit von zu für ist sind wird weil dass et ou le la les un une des du de à pour avec
que qui est y o el los las una con por para en e ou do da com het een van voor
"""
_DANGLING = frozenset(_TEXT_OF_DANGLING.split())
"""Words that no sentence ends with, or hardly any."""

_CODE = re.compile(r"[{}=<>]|\w\(|^\s*(?:#|//|--)|\b(?:SELECT|FROM|WHERE|return|import)\b")
_BULLET = re.compile(r"^\s*(?:[-*•–+]|\d{1,2}[.)])\s+")
_BEYOND = re.compile(
    r"(?:https?://|www\.)\S+$|\S+@\S+\.\w+$|[\w/\\.-]+\.\w{2,4}$|[A-Z]{2,}[\w-]*\d$"
)
"""Endings that take no full stop: an address, a path, a reference number."""


def check_cut_off(table: Table) -> list[Finding]:
    """One finding about the answers that stop in the middle."""
    rows = cut_off_rows(table)
    if not rows:
        return []
    answer = table.answers[rows[0]]
    return [
        Finding.of_rows(
            "cut_off",
            Severity.WARNS,
            [table.lines[row] for row in rows],
            len(table),
            message=f"{len(rows):,} answers seem to be cut off: they stop inside a sentence, a code"
            " block or a bracket, while the others end properly.",
            advice="Complete them or remove the rows: the model learns to stop there too.",
            example=shortened(answer) if len(answer) <= 120 else "…" + shortened(answer[-118:]),
        )
    ]


def cut_off_rows(table: Table) -> list[int]:
    """The 0-based rows whose answer is cut off.

    An open code fence or JSON value is enough. For a sentence without an end it takes more: that
    at least 80 % of the longer answers have one, for where they don't it is the style.
    """
    answers = table.answers
    if is_categorical(answers):
        return []
    broken = {row for row, answer in enumerate(answers) if _is_open(answer)}
    judged = [
        row
        for row, answer in enumerate(answers)
        if row not in broken
        and len(answer) >= _FEWEST_CHARACTERS
        and answer.count(" ") >= _FEWEST_WORDS - 1
    ]
    unended = [row for row in judged if not _ends(answers[row])]
    if len(unended) <= (1 - _PROPER_SHARE) * len(judged):
        given = Counter(answers[row] for row in unended)
        broken.update(
            row
            for row in unended
            if given[answers[row]] < _REPEATED or len(answers[row]) > _FORMULA
        )
        broken.update(
            row
            for row, answer in enumerate(answers)
            if len(answer) < _FEWEST_CHARACTERS and _dangles(answer)
        )
    return sorted(broken)


def _is_open(answer: str) -> bool:
    """Whether a code fence or a JSON value is opened and never closed."""
    if "```" in answer or "~~~" in answer:
        return len(_FENCE.findall(answer)) % 2 == 1
    text = answer.strip()
    if text[:1] not in {"{", "["} or text[-1:] in {"}", "]"}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return _open_brackets(text)
    return False


def _open_brackets(text: str) -> bool:
    """Whether a bracket outside of quoted strings, or such a string, is open at the end."""
    depth = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
    return depth > 0 or quoted


def _ends(answer: str) -> bool:
    """Whether a text ends as texts do."""
    text = answer.rstrip()
    last = text[-1:]
    if last in _STOPS:
        return True
    if last in _CLOSERS:
        # "(see above)" ends; an opening quote after a space does not.
        return len(text) > 1 and not text[-2].isspace()
    if last in _OPENERS:
        return False
    if unicodedata.category(last)[0] in "SPMC":  # an emoji, a degree sign, a percent sign
        return True
    before, _, line = text.rpartition("\n")
    return (
        _BEYOND.search(line) is not None
        or (before != "" and _is_unpunctuated_line(line, before))
        or (
            _CODE.search(line[-40:]) is not None
            and "(" not in line.replace("()", "")[-12:]
            and not _dangles(line)
        )
    )


def _is_unpunctuated_line(line: str, before: str) -> bool:
    """Whether the last line is one that takes no full stop: a list's, a table's, a signature's."""
    if line.lstrip().startswith("|"):
        return line.rstrip().endswith("|")
    words = line.split()
    dangles = words[-1].casefold() in _DANGLING
    if _BULLET.match(line) and before.strip():
        return not dangles and before.rstrip()[-1] not in _STOPS.replace(":", "")
    named = len(words) <= 4 and all(w[:1].isupper() or w in {"&", "of"} for w in words)
    signed = len(words) <= 4 and before.rstrip()[-1:] == ","
    return not dangles and (named or signed)


def _dangles(text: str) -> bool:
    """Whether a text ends in what something has to follow: an open bracket, a comma, "the"."""
    words = text.split()
    if len(words) < 2:
        return False
    return text.rstrip()[-1] in "([{,„«" or words[-1].casefold() in {"the", "a", "an", "und", "et"}
