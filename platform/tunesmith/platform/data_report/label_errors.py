"""Labels that are probably wrong: confident learning (Northcutt et al. 2021) by cleanlab.

A simple classifier is trained on four fifths of the rows and asked about the last fifth, five
times over; where it is surer of another label than it usually is of that one, the label is
suspect.
"""

from __future__ import annotations

from typing import Any

from .finding import Finding, Severity
from .labels import is_categorical, normalised_label, proper_labels
from .normal_text import shortened
from .table import Table

FOLDS = 5
FEWEST_ROWS = 50
WARNS_AT = 0.02
_SEED = 0
_STEPS = 400_000
"""Rows that a classifier learns from in all: a large file needs fewer passes over it."""
_FEWEST_PASSES, _MOST_PASSES = 3, 8

GOOD_ENOUGH = 0.85
"""A classifier that agrees with this share of the labels errs rarely enough to be believed: on
2 % wrong labels of eight, it named 1 % of the right ones; at 0.7, 10 to 20 %."""

CLEAR = 0.92
"""Probability of the other label from which one that agrees with less is believed: it may have
too few rows to learn from, or many of them may be wrong."""


def suspect_rows(table: Table) -> list[tuple[int, str, float]]:
    """(0-based row, more likely label, its probability) of rows whose label is probably wrong.

    Labels with fewer than five rows are left out: nothing can be learned about them. Empty where
    the answers are no categories or there are fewer than 50 rows. Fewer are named where the
    classifier agrees with few labels: it may be the one that errs.
    """
    if len(table) < FEWEST_ROWS or not is_categorical(table.answers):
        return []
    import numpy as np
    from cleanlab.filter import find_label_issues

    from .features import tf_idf

    names = [label for label, n in proper_labels(table.answers).items() if n >= FOLDS]
    if len(names) < 2:
        return []
    number = {label: place for place, label in enumerate(names)}
    answers = [number.get(normalised_label(answer), -1) for answer in table.answers]
    rows = np.flatnonzero(np.asarray(answers) >= 0)
    labels = np.asarray(answers)[rows]
    probabilities = _out_of_sample(tf_idf([table.questions[row] for row in rows]), labels)
    suspects: Any = find_label_issues(
        labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1
    )
    guesses = probabilities.argmax(axis=1)
    least = 0.0 if (guesses == labels).mean() >= GOOD_ENOUGH else CLEAR
    return [
        (int(rows[place]), names[guesses[place]], float(probabilities[place, guesses[place]]))
        for place in np.flatnonzero(suspects)
        if guesses[place] != labels[place] and probabilities[place, guesses[place]] >= least
    ]


def _out_of_sample(features: Any, labels: Any) -> Any:
    """Each row's probabilities by a model that has not seen it, [rows, labels]."""
    import numpy as np
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold

    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    passes = max(_FEWEST_PASSES, min(_MOST_PASSES, _STEPS // len(labels)))
    folds: Any = StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED)
    for training, asked in folds.split(features, labels):
        # One model for each label, on all cores: their seeds do not depend on the order.
        model: Any = SGDClassifier(
            loss="log_loss", alpha=1e-5, max_iter=passes, tol=None, random_state=_SEED, n_jobs=-1
        )
        model.fit(features[training], labels[training])
        probabilities[np.ix_(asked, model.classes_)] = model.predict_proba(features[asked])
    return probabilities


def check_label_errors(table: Table) -> list[Finding]:
    """One finding about all suspect labels."""
    suspects = suspect_rows(table)
    if not suspects:
        return []
    share = len(suspects) / len(table)
    suspects.sort(key=lambda suspect: (-suspect[2], suspect[0]))
    row, likely, probability = suspects[0]
    return [
        Finding.of_rows(
            "label_errors",
            Severity.WARNS if share >= WARNS_AT else Severity.NOTE,
            [table.lines[row] for row, _, _ in suspects],
            len(table),
            message=f"{len(suspects):,} rows ({share:.1%}) probably have a wrong label.",
            advice="Look at these rows first; a model learns wrong labels as well as right ones.",
            example=(
                f"line {table.lines[row]}: {shortened(table.prompts[row])} →"
                f" {table.answers[row][:60]}; {likely} is likelier ({probability:.0%})"
            ),
            details={
                "suggestions": [
                    {"line": table.lines[row], "label": table.answers[row][:60], "likely": likely}
                    for row, likely, _ in suspects[:100]
                ]
            },
        )
    ]
