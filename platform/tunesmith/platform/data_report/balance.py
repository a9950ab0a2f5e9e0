"""How often each category occurs, here and in production, and rows that would match it better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .finding import Finding, Severity
from .labels import is_categorical, label_counts, normalised_label, proper_labels
from .table import Table

DOMINANT = 0.8
"""Share of one label from which a model does well by always giving it."""

RARE = 10
"""Fewer rows than this rarely teach a label."""

FAR = 0.1
"""Total variation distance from which training and production are worth a warning."""

SIGNIFICANT = 0.01
"""Chi-square p below which the distance is no accident of a small sample."""

FEWEST_KEPT = 50
"""Rows of a label that rebalancing always keeps."""

NEGLIGIBLE = 0.01
"""Share of production below which a label does not limit the rebalanced set."""


def check_balance(table: Table) -> list[Finding]:
    """Findings about one label's dominance, rare labels, and one label in several spellings."""
    counts = proper_labels(table.answers)
    total = len(table)
    if total >= RARE and len({normalised_label(answer) for answer in table.answers}) == 1:
        return [
            Finding(
                "label_imbalance",
                Severity.WARNS,
                "Every row has the same answer: the model will learn to give it whatever is asked.",
                "Add examples of every other answer that may be right.",
                count=total,
                share=1.0,
                example=table.answers[0][:300],
            )
        ]
    if not is_categorical(table.answers):
        return []
    labels = [normalised_label(answer) for answer in table.answers]
    findings = []
    top, rows = counts.most_common(1)[0]
    if rows / total >= DOMINANT:
        findings.append(
            Finding(
                "label_imbalance",
                Severity.WARNS,
                f"{rows / total:.0%} of the answers are {top!r}: a model that always says it is"
                " right that often, and learns little more.",
                "Add rows of the other labels, or remove some of this one (`--rebalance`), unless"
                " production is like this too (`--production`).",
                count=rows,
                share=rows / total,
                details={"label": top, "rows": rows},
            )
        )
    rare = {label: count for label, count in counts.items() if count < RARE}
    if rare:
        lines = [line for line, label in zip(table.lines, labels, strict=True) if label in rare]
        named = ", ".join(f"{label} ({count})" for label, count in list(rare.items())[:8])
        findings.append(
            Finding.of_rows(
                "rare_labels",
                Severity.WARNS if total >= 100 else Severity.NOTE,
                lines,
                total,
                message=f"{len(rare)} labels have fewer than {RARE} rows: {named}.",
                advice=f"Add rows until each has {RARE} or more, or merge labels.",
                details={"labels": rare},
            )
        )
    return findings + _spellings(table, labels)


def _spellings(table: Table, labels: list[str]) -> list[Finding]:
    """One label written in several ways: each is learned as an answer of its own."""
    written: dict[str, Counter[str]] = {}
    for label, answer in zip(labels, table.answers, strict=True):
        written.setdefault(label, Counter())[answer] += 1
    usual = {label: counts.most_common(1)[0][0] for label, counts in written.items()}
    lines = [
        line
        for line, label, answer in zip(table.lines, labels, table.answers, strict=True)
        if answer != usual[label]
    ]
    if not lines:
        return []
    several = {label: list(counts) for label, counts in written.items() if len(counts) > 1}
    example = next(iter(several.values()))
    return [
        Finding.of_rows(
            "label_spelling",
            Severity.WARNS,
            lines,
            len(table),
            message=f"{len(lines):,} answers write a label unlike most others do.",
            advice="Write each label in one way: the model learns every spelling.",
            example=" | ".join(map(repr, example[:4])),
            details={"labels": dict(list(several.items())[:20])},
        )
    ]


def total_variation(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Half the sum of the differences of shares: the share of rows that would have to change."""
    return sum(abs(one.get(k, 0.0) - other.get(k, 0.0)) for k in {*one, *other}) / 2


def check_production(table: Table, production: Table) -> list[Finding]:
    """How far the labels' shares are from those in a sample of production use.

    The distance is the total variation; the p-value that of Pearson's chi-square test of
    homogeneity on the two rows of counts (scipy's `chi2_contingency`).
    """
    from scipy.stats import chi2_contingency

    if not is_categorical(table.answers):
        return []
    here, there = label_counts(table.answers), label_counts(production.answers)
    labels = sorted({*here, *there}, key=lambda label: (-here[label], label))
    result: Any = chi2_contingency([[counts[k] for k in labels] for counts in (here, there)])
    p_value = float(result.pvalue)
    shares, wanted = shares_of(here), shares_of(there)
    distance = total_variation(shares, wanted)
    most = max(labels, key=lambda k: abs(shares.get(k, 0.0) - wanted.get(k, 0.0)))
    unseen = [label for label in labels if not here[label] and there[label] > 1]
    far = distance >= FAR and p_value < SIGNIFICANT
    details = {
        "total_variation": distance,
        "chi_square_p": p_value,
        "labels": {
            k: {"training": shares.get(k, 0.0), "production": wanted.get(k, 0.0)}
            for k in labels[:50]
        },
        "unseen": unseen[:20],
    }
    message = (
        f"{most!r} is {shares.get(most, 0.0):.0%} of these answers and"
        f" {wanted.get(most, 0.0):.0%} of production; over all labels {distance:.0%} of the rows"
        f" would have to be another label to match (chi-square p {_p(p_value)})."
    )
    findings = []
    if far:
        findings.append(
            Finding(
                "production_shift",
                Severity.WARNS,
                message,
                "Collect examples as production sends them, or write a rebalanced file"
                " (`--rebalance OUT`).",
                share=distance,
                details=details,
            )
        )
    else:
        findings.append(
            Finding(
                "production_shift",
                Severity.NOTE,
                f"The labels are spread much as in production: {message}",
                "Nothing to do.",
                share=distance,
                details=details,
            )
        )
    if unseen:
        lines = [
            line
            for line, answer in zip(production.lines, production.answers, strict=True)
            if normalised_label(answer) in unseen
        ]
        findings.append(
            Finding.of_rows(
                "unseen_labels",
                Severity.WARNS,
                lines,
                len(production),
                message=f"{len(unseen)} labels of production are not in the file:"
                f" {', '.join(unseen[:8])}.",
                advice="Add examples of them: the model can't give an answer it never saw.",
            )
        )
    return findings


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def shares_of(counts: Mapping[str, int]) -> dict[str, float]:
    """Counts as shares of their sum."""
    total = sum(counts.values())
    return {label: count / total for label, count in counts.items()} if total else {}


def rebalanced_rows(table: Table, production: Table | None = None) -> list[int]:
    """0-based rows, ascending, whose labels are spread as in production, else evenly.

    Rows are left out, never repeated; of a label those stay that are spread over the whole file.
    With a sample of production as many rows stay as its shares allow, where labels under 1 % of
    it don't limit the others. Without one no label keeps more than the smallest has, or 50.

    Raises:
        ValueError: the answers are no categories.
    """
    if not is_categorical(table.answers):
        raise ValueError("The answers are no categories, so there is nothing to balance.")
    proper = proper_labels(table.answers)
    rows: dict[str, list[int]] = {label: [] for label in proper}
    for row, answer in enumerate(table.answers):
        label = normalised_label(answer)
        if label in rows:
            rows[label].append(row)
    if production is None:
        limit = max(FEWEST_KEPT, min(map(len, rows.values())))
        quota = dict.fromkeys(rows, limit)
    else:
        wanted = shares_of(label_counts(production.answers))
        sizes = [
            len(rows[label]) / share
            for label, share in wanted.items()
            if label in rows and share >= NEGLIGIBLE
        ]
        if not sizes:
            raise ValueError("No label of the production sample is in the file.")
        quota = {label: round(min(sizes) * wanted.get(label, 0.0)) for label in rows}
    return sorted(row for label in rows for row in _spread(rows[label], quota[label]))


def _spread(rows: Sequence[int], count: int) -> list[int]:
    if count >= len(rows):
        return list(rows)
    return [rows[place * len(rows) // count] for place in range(count)]
