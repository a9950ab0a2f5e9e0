"""Answers with many misspelt words, compared with the rest of the file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from .finding import Finding, Severity
from .normal_text import shortened
from .table import Table

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_LETTERS = {
    "en": _LATIN,
    "de": _LATIN + "äöüß",
    "es": _LATIN + "áéíóúüñ",
    "fr": _LATIN + "àâçéèêëîïôùûœ",
    "it": _LATIN + "àèéìòù",
    "nl": _LATIN + "éëï",
    "pt": _LATIN + "áâãàçéêíóôõú",
    "ru": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
}
"""Letters of the languages whose dictionaries pyspellchecker has."""

_DENSITY = 0.08
"""Share of misspelt words from which an answer has many."""

_TIMES_AVERAGE = 3.0
"""And so many times the file's average."""

_FEWEST = 2
"""One misspelt word is an accident."""

_FILE_DENSITY = 0.03
"""Share of misspelt words in the whole file that is worth a note."""

_SHORTEST = 4
"""Letters: among shorter strings most are abbreviations."""

_OWN_ROWS = 0.002
_OWN_FEWEST = 4
"""A word that this share of the rows, and this many, write alike is the file's own."""

_FREQUENT = 50
"""Occurrences in the dictionary's corpus from which a word is one that people mistype."""

_LONGEST = 2000
_CODE = re.compile(r"```.*?(?:```|$)|`[^`]*`", re.DOTALL)
_AROUND = "\"'“”„‘’«»()[]{}.,;:!?…*"
# Lower-case letters alone: no name, no code, no address, no half of a hyphenated word.
_WORD = re.compile(r"[^\W\d_A-ZÀ-ÖØ-ÞА-Я]{2,}")


def check_typos(table: Table, language: str | None) -> list[Finding]:
    """A finding about answers with many misspelt words, or a note where the whole file has many.

    Args:
        table: the rows.
        language: of the answers, ISO 639-1; with None, or one without a dictionary, nothing is
            found.
    """
    if language is None or language not in _LETTERS:
        return []
    known = _Words()
    words = [known.of(answer) for answer in table.answers]
    rows_of = Counter(word for own in words for word in set(own))
    misspelt = _misspelt(rows_of, len(table), language)
    counts = [sum(word in misspelt for word in own) for own in words]
    total = sum(map(len, words))
    average = sum(counts) / total if total else 0.0
    limit = max(_DENSITY, _TIMES_AVERAGE * average)
    rows = [
        row
        for row, (count, own) in enumerate(zip(counts, words, strict=True))
        if count >= _FEWEST and count >= limit * len(own)
    ]
    findings = []
    if rows:
        shown = [word for word in words[rows[0]] if word in misspelt][:5]
        findings.append(
            Finding.of_rows(
                "typos",
                Severity.WARNS,
                [table.lines[row] for row in rows],
                len(table),
                message=f"{len(rows):,} answers misspell {limit:.0%} of their words or more; of all"
                f" words {average:.1%} are misspelt.",
                advice="Correct them: the model learns to write so.",
                example=f"{', '.join(shown)} in: {shortened(table.answers[rows[0]], 200)}",
                details={"density": average, "limit": limit},
            )
        )
    if average >= _FILE_DENSITY:
        findings.append(
            Finding(
                "typos_overall",
                Severity.NOTE,
                f"{average:.1%} of all words in the answers seem to be misspelt.",
                "Look through the answers, or run a spell checker over them.",
                share=average,
                example=", ".join(sorted(misspelt, key=lambda w: (-rows_of[w], w))[:10]),
            )
        )
    return findings


class _Words:
    """The words of texts; the same tokens come again and again, so each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, text: str) -> list[str]:
        text = text[:_LONGEST]
        if "`" in text:
            text = _CODE.sub(" ", text)
        words = []
        for token in text.split():
            word = self._known.get(token)
            if word is None:
                word = self._known[token] = _word(token)
            if word:
                words.append(word)
        return words


def _word(token: str) -> str:
    """The plain word in a token between spaces; empty where it is something else."""
    word = token.strip(_AROUND)
    return word if _WORD.fullmatch(word) else ""


def _misspelt(rows_of: Counter[str], rows: int, language: str) -> frozenset[str]:
    """The words that no dictionary has, that are one slip away from a frequent word.

    A word that is far from all others is a name, a compound or jargon rather than a mistake. So is
    one that many rows write alike, unless it is two letters swapped, or many more rows write what
    it is one slip away from.
    """
    dictionary = _dictionary(language)
    english = _dictionary("en")  # other languages are full of English words
    letters = _LETTERS[language]
    own = max(_OWN_FEWEST, _OWN_ROWS * rows)
    misspelt = set()
    for word, count in rows_of.items():
        if len(word) < _SHORTEST or word in dictionary or word in english:
            continue
        if _inflected(word, dictionary):
            continue
        if any(dictionary.get(other, 0) >= _FREQUENT for other in _swapped(word)):
            misspelt.add(word)
            continue
        meant = [other for other in _slips(word, letters) if dictionary.get(other, 0) >= _FREQUENT]
        if meant and (count < own or max(rows_of[other] for other in meant) >= _FEWEST * count):
            misspelt.add(word)
    return frozenset(misspelt)


def _swapped(word: str) -> Iterator[str]:
    """The words with two neighbouring letters of `word` swapped."""
    for place in range(len(word) - 1):
        yield word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _slips(word: str, letters: str) -> Iterator[str]:
    """The words with one letter more, less, or another one."""
    for place in range(len(word) + 1):
        head, tail = word[:place], word[place:]
        if tail:
            yield head + tail[1:]
        for letter in letters:
            yield head + letter + tail
            if tail:
                yield head + letter + tail[1:]


def _inflected(word: str, dictionary: Any) -> bool:
    """Whether a known word is in `word`, with an ending or a beginning that dictionaries omit."""
    for ending in ("s", "es", "ed", "d", "ing", "er", "ly", "able", "n", "en", "e"):
        stem = word.removesuffix(ending)
        if len(stem) < len(word) and (stem in dictionary or stem + "e" in dictionary):
            return True
    return any(
        word.startswith(beginning) and word.removeprefix(beginning) in dictionary
        for beginning in ("re", "un", "pre", "non", "auto", "multi", "sub", "over", "de", "mis")
    )


@cache
def _dictionary(language: str) -> Any:
    """Word -> occurrences in the corpus of pyspellchecker's dictionary."""
    from spellchecker import SpellChecker

    return SpellChecker(language=language, distance=1).word_frequency.dictionary
