"""Answers in another language than the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from .finding import Finding, Severity
from .labels import is_categorical
from .normal_text import shortened
from .table import Table

_CANDIDATES = [
    "ar",
    "bg",
    "ca",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "et",
    "fa",
    "fi",
    "fr",
    "he",
    "hi",
    "hr",
    "hu",
    "id",
    "it",
    "ja",
    "ko",
    "lt",
    "lv",
    "nl",
    "no",
    "pl",
    "pt",
    "ro",
    "ru",
    "sk",
    "sl",
    "sr",
    "sv",
    "th",
    "tr",
    "uk",
    "vi",
    "zh",
]
"""Languages of most text that is written; rarer ones take short texts of these for their own."""

_SAMPLE = 400
"""Texts that decide the file's language, evenly spread over it."""

_MAJORITY = 0.8
_FEWEST_LETTERS = 25
_FEWEST_WORDS = 4
"""Below, a text is a name or a label, and a guess at its language a throw of dice."""

_SURE = 0.9
"""Probability of another language from which an answer is in it; of the file's own it is then at
most 0.1. py3langid scales its probabilities by the length of the text."""

_COMMON = 60
"""So many of the file's commonest words are taken for its grammar."""

_GRAMMAR = 0.25
"""Share of these among an answer's words from which it is in the file's language for certain."""

_LOOKED_AT = 400
_WORD = re.compile(r"[^\W\d_]+")


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_CANDIDATES)
    return identifier


def majority_language(texts: Sequence[str]) -> str | None:
    """The ISO 639-1 code of the language of at least 80 % of the texts long enough to tell.

    None where no language prevails, or fewer than five texts can be told, or they are categories.
    """
    if is_categorical(texts):
        return None
    step = max(1, len(texts) // (4 * _SAMPLE))
    long_enough = [text for text in texts[::step] if _is_prose(text, _words(text))]
    step = max(1, len(long_enough) // _SAMPLE)
    told = [_told(text) for text in long_enough[::step][:_SAMPLE]]
    counts = Counter(language for language, sure in told if sure >= 0.5)
    if counts.total() < 5:
        return None
    language, count = counts.most_common(1)[0]
    return language if count >= _MAJORITY * counts.total() else None


def check_language(
    table: Table, majority: str | None, ignored: frozenset[int] = frozenset()
) -> list[Finding]:
    """A warning about answers in another language, and a note about whole rows in one.

    Args:
        table: the rows.
        majority: the file's language; with None nothing is found.
        ignored: 0-based rows about which something was said already.
    """
    if majority is None:
        return []
    answers: list[tuple[int, str]] = []
    whole: list[tuple[int, str]] = []
    for row, language in _foreign_rows(table.answers, majority):
        if row in ignored:
            continue
        prompt = table.prompts[row]
        asked = _told(prompt)[0] if _is_prose(prompt, _words(prompt)) else None
        (whole if asked == language else answers).append((row, language))
    return [
        *_finding(
            table,
            answers,
            "other_language",
            severity=Severity.WARNS,
            what=f"answers are in another language than the others ({majority}) and the question",
            advice="Translate them or remove the rows, unless a translation is what is asked for.",
        ),
        *_finding(
            table,
            whole,
            "second_language",
            severity=Severity.NOTE,
            what=f"rows are in another language than the others ({majority}), question and answer",
            advice="Keep them where the model will be asked in that language, and add more then.",
        ),
    ]


def _finding(
    table: Table,
    found: list[tuple[int, str]],
    check: str,
    *,
    severity: Severity,
    what: str,
    advice: str,
) -> list[Finding]:
    if not found:
        return []
    counts = Counter(language for _, language in found)
    named = ", ".join(f"{language} {count:,}" for language, count in counts.most_common(5))
    return [
        Finding.of_rows(
            check,
            severity,
            [table.lines[row] for row, _ in found],
            len(table),
            message=f"{len(found):,} {what}: {named}.",
            advice=advice,
            example=shortened(table.answers[found[0][0]]),
            details={"languages": dict(counts.most_common())},
        )
    ]


def _foreign_rows(answers: Sequence[str], majority: str) -> list[tuple[int, str]]:
    """The 0-based rows in another language than `majority`, each with its language.

    Telling a language takes a third of a millisecond: answers with enough of the file's commonest
    words are not asked about.
    """
    step = max(1, len(answers) // 5000)
    words = Counter(word for text in answers[::step] for word in set(_words(text)))
    grammar = frozenset(word for word, _ in words.most_common(_COMMON))
    known: dict[str, str | None] = {}
    found = []
    for row, text in enumerate(answers):
        if len(text) < _FEWEST_LETTERS:
            continue
        own = _words(text)
        if len(grammar.intersection(own)) >= _GRAMMAR * len(own) or not _is_prose(text, own):
            continue
        if text not in known:
            language, sure = _told(text)
            known[text] = language if language != majority and sure >= _SURE else None
        if (other := known[text]) is not None:
            found.append((row, other))
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:_LOOKED_AT].lower())


def _is_prose(text: str, words: list[str]) -> bool:
    """Whether a text of these words has enough of them, and is neither code nor JSON."""
    start = text[:_LOOKED_AT]
    if len(start) < _FEWEST_LETTERS or start.lstrip()[:1] in "{[<|" or "```" in start:
        return False
    if start.isascii() and start.count(" ") < _FEWEST_WORDS - 1:
        return False
    letters = sum(map(len, words))
    return letters >= max(_FEWEST_LETTERS, 0.65 * len(start))


def _told(text: str) -> tuple[str, float]:
    """The language of a text's first 400 characters, and how sure that is, 0 to 1."""
    language, sure = _identifier().classify(text[:_LOOKED_AT])
    return str(language), float(sure)
