"""Texts without the differences that mean nothing: what "the same" means in the data report."""

from __future__ import annotations

import re
import unicodedata

_NOT_WORDS = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d+")


def folded(text: str) -> str:
    """`text` with case and runs of white space ignored; equal results mean the same text."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def words_of(text: str) -> str:
    """The words of `text` alone, in one case, a space between them: no punctuation."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _NOT_WORDS.sub(" ", text.casefold()).strip()


def numbers_of(text: str) -> list[str]:
    """Every number in `text`, in order: who asks with another number asks something else."""
    return _NUMBER.findall(text)


def shortened(text: str, length: int = 120) -> str:
    """`text` on one line, cut at `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def shared_beginning(one: str, other: str) -> str:
    """The longest text that both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return one[: next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))]
