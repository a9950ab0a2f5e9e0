"""Validation rows that training has seen: what they measure is memory, not skill."""

from __future__ import annotations

from collections import defaultdict

from .finding import Finding, Severity
from .normal_text import folded, shortened, words_of
from .table import Table

_ADVICE = (
    "Remove these rows from the validation file: a model that has seen the question in training"
    " may only remember the answer."
)


def leaked_rows(table: Table, validation: Table) -> tuple[dict[int, int], dict[int, int]]:
    """Exact and near leakage: 0-based validation row -> a training row that asks the same."""
    from .similarity import similar_pairs

    known = {folded(text): row for row, text in reversed(list(enumerate(table.inputs)))}
    exact = {
        row: known[key] for row, key in enumerate(map(folded, validation.inputs)) if key in known
    }
    trained: dict[str, int] = {}
    for row, text in enumerate(table.questions):
        trained.setdefault(words_of(text), row)
    asked: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(validation.questions):
        if row not in exact:
            asked[words_of(text)].append(row)
    trained.pop("", None)  # inputs of nothing but signs
    asked.pop("", None)
    near = {row: trained[text] for text in asked if text in trained for row in asked[text]}
    texts = list(dict.fromkeys([*trained, *asked]))
    for one, other in similar_pairs(texts).tolist():
        for text, source in ((texts[one], texts[other]), (texts[other], texts[one])):
            if source in trained:
                near.update(
                    (row, trained[source]) for row in asked.get(text, ()) if row not in near
                )
    return exact, near


def check_leakage(table: Table, validation: Table) -> list[Finding]:
    """At most two findings; their rows are lines of the validation file."""
    exact, near = leaked_rows(table, validation)
    findings = []
    for check, rows, how in (
        ("leakage", exact, "are also in the training file"),
        ("near_leakage", near, "are nearly the same as a training row"),
    ):
        if not rows:
            continue
        row = min(rows)
        share = len(rows) / len(validation)
        findings.append(
            Finding.of_rows(
                check,
                Severity.WARNS,
                [validation.lines[row] for row in rows],
                len(validation),
                message=f"{len(rows):,} rows ({share:.1%}) of the validation file {how}.",
                advice=_ADVICE,
                example=(
                    f"validation line {validation.lines[row]}, training line"
                    f" {table.lines[rows[row]]}: {shortened(validation.prompts[row])}"
                ),
                details={
                    "training_lines": {
                        str(validation.lines[row]): table.lines[source]
                        for row, source in sorted(rows.items())[:100]
                    }
                },
            )
        )
    return findings
