"""Answers that are categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tunesmith.platform.data_report.labels import normalised_label

from .metric import Figure

OTHER = "(other)"
_MOST_SHOWN = 30


class LabelAccuracy:
    """1 for the right label, whatever its case and the full stop behind it."""

    name = "label accuracy"
    kind = "label"
    binary = True
    passes = 1.0

    def score(self, reference: str, answer: str) -> float:
        """Whether both are the same label."""
        return float(normalised_label(reference) == normalised_label(answer))

    def figures(self, references: Sequence[str], answers: Sequence[str]) -> list[Figure]:
        """Macro-F1, which counts rare labels as much as common ones, and answers that are none."""
        known = set(map(normalised_label, references))
        outside = sum(normalised_label(answer) not in known for answer in answers)
        return [
            Figure("macro-F1", macro_f1(references, answers)),
            Figure("answers that are no label", outside / len(answers), higher_is_better=False),
        ]


def macro_f1(references: Sequence[str], answers: Sequence[str]) -> float:
    """Mean over the references' labels of F1 = 2 right / (expected + answered)."""
    expected = Counter(map(normalised_label, references))
    given = Counter(map(normalised_label, answers))
    right = Counter(
        normalised_label(reference)
        for reference, answer in zip(references, answers, strict=True)
        if normalised_label(reference) == normalised_label(answer)
    )
    return sum(2 * right[label] / (expected[label] + given[label]) for label in expected) / len(
        expected
    )


def confusion(
    references: Sequence[str], answers: Sequence[str]
) -> tuple[list[str], list[list[int]]]:
    """Labels, and how often each (row) was answered by which (column; the last is any other)."""
    counts = Counter(map(normalised_label, references))
    labels = sorted(label for label, _ in counts.most_common(_MOST_SHOWN))
    place = {label: index for index, label in enumerate(labels)}
    matrix = [[0] * (len(labels) + 1) for _ in labels]
    for reference, answer in zip(references, answers, strict=True):
        row = place.get(normalised_label(reference))
        if row is not None:
            matrix[row][place.get(normalised_label(answer), len(labels))] += 1
    return labels, matrix
