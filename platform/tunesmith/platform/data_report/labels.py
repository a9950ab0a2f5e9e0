"""Whether answers are categories, and how often each occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

LONGEST_LABEL = 60
"""Characters: a longer answer is a text, not a label."""

MOST_LABELS = 100


def normalised_label(answer: str) -> str:
    """A label without what does not matter: case, spaces around it, a full stop at its end."""
    return " ".join(answer.split()).strip(" .!\"'`*").casefold()


def label_counts(answers: Sequence[str]) -> Counter[str]:
    """How often each normalised label occurs, the commonest first."""
    return Counter(dict(Counter(map(normalised_label, answers)).most_common()))


def is_categorical(answers: Sequence[str]) -> bool:
    """Whether the answers are few short labels, each given again and again.

    At least two of them, at most 100, none longer than 60 characters, each five times on average:
    below that "few" cannot be told from "not many yet".
    """
    if not answers or any(len(answer) > LONGEST_LABEL for answer in answers):
        return False
    labels = len({normalised_label(answer) for answer in answers})
    return 2 <= labels <= min(MOST_LABELS, len(answers) / 5)
