"""Whether answers are categories, and how often each occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

LONGEST_LABEL = 60
"""Characters: a longer answer is a text, not a label."""

MOST_LABELS = 100

STRAY_SHARE = 0.05
"""Most answers, of all, that may be something else (a typing error, a refusal) among labels."""

MOST_NUMBERS = 20
"""More different numbers than this are quantities, not marks on a scale."""


def normalised_label(answer: str) -> str:
    """A label without what does not matter: case, spaces around it, a full stop at its end."""
    return " ".join(answer.split()).strip(" .!\"'`*").casefold()


def label_counts(answers: Sequence[str]) -> Counter[str]:
    """How often each normalised label occurs, the commonest first, equal ones by name."""
    counts = Counter(map(normalised_label, answers))
    return Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def proper_labels(answers: Sequence[str]) -> Counter[str]:
    """The labels among answers: those that are short and not one of a kind, the commonest first."""
    counts = label_counts(answers)
    return Counter(
        {
            label: count
            for label, count in counts.items()
            if label and count > 1 and len(label) <= LONGEST_LABEL
        }
    )


def is_categorical(answers: Sequence[str]) -> bool:
    """Whether the answers are few short labels, each given again and again.

    At least two of them, at most 100, at most 60 characters long, each five times on average:
    below that "few" cannot be told from "not many yet". One answer in twenty may be something
    else, or a single damaged row would hide that the others are labels.
    """
    if not answers:
        return False
    proper = proper_labels(answers)
    if not 2 <= len(proper) <= min(MOST_LABELS, len(answers) / 5):
        return False
    if len(proper) > MOST_NUMBERS and all(map(_is_number, proper)):
        return False
    return sum(proper.values()) >= (1 - STRAY_SHARE) * len(answers)


def _is_number(label: str) -> bool:
    try:
        float(label.replace(",", "."))
    except ValueError:
        return False
    return True
