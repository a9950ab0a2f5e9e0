"""The data report: every check's findings and the figures of a file of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.platform.examples import (
    Example,
    ExamplesError,
    parse_column_options,
    read_examples,
    renamed_columns,
)

from .balance import check_balance, check_production, shares_of
from .contradictions import check_contradictions
from .enough_examples import check_enough
from .exact_duplicates import check_exact_duplicates, duplicate_groups
from .finding import Finding, Severity
from .label_errors import check_label_errors
from .labels import is_categorical, label_counts
from .leakage import check_leakage
from .near_duplicates import check_near_duplicates, near_duplicate_groups
from .outliers import check_outliers
from .pii import check_pii
from .table import Table
from .text_checks import check_texts
from .token_figures import TokenFigures, TokenTally
from .tokens import TokenCounter

CHECKS: tuple[Callable[[Table], list[Finding]], ...] = (
    check_contradictions,
    check_exact_duplicates,
    check_balance,
    check_label_errors,
    check_outliers,
    check_texts,
    check_pii,
)
"""The checks that need nothing but the table."""

LABELS_SHOWN = 100
EPOCHS = 3
"""Passes over the data that estimates assume where nothing else is said."""

_ORDER = {Severity.BLOCKS: 0, Severity.WARNS: 1, Severity.NOTE: 2}


@dataclass(frozen=True)
class Report:
    """What there is to say about a data set.

    Attributes:
        kind: "chat" or "preferences"; None where the file cannot be read.
        rows: examples; of a file with problems 0.
        distinct: examples without copies, exact and near.
        categorical: whether the answers are categories.
        labels: normalised label -> rows, the commonest 100; empty where they are none.
        production_labels: the same of the production sample.
        tokens: None without a tokenizer.
        findings: the worst first.
    """

    kind: str | None
    rows: int
    distinct: int
    categorical: bool
    labels: dict[str, int]
    production_labels: dict[str, int]
    tokens: TokenFigures | None
    findings: list[Finding]

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding; None where there is none."""
        return min((f.severity for f in self.findings), key=_ORDER.__getitem__, default=None)

    def count(self, severity: Severity) -> int:
        """Findings of this severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON types."""
        wanted = shares_of(self.production_labels)
        return {
            "kind": self.kind,
            "rows": self.rows,
            "distinct": self.distinct,
            "categorical": self.categorical,
            "labels": [
                {"label": label, "rows": count, "share": count / self.rows}
                | ({"production_share": wanted.get(label, 0.0)} if wanted else {})
                for label, count in self.labels.items()
            ],
            "tokens": None if self.tokens is None else self.tokens.as_json(),
            "worst": None if self.worst is None else str(self.worst),
            "counts": {str(severity): self.count(severity) for severity in Severity},
            "findings": [finding.as_json() for finding in self.findings],
        }


def build_report(
    source: Iterable[Example] | Table,
    *,
    production: Iterable[Example] | Table | None = None,
    validation: Iterable[Example] | Table | None = None,
    tokens: TokenCounter | None = None,
    epochs: int = EPOCHS,
    seconds_per_token: float | None = None,
    price_per_hour: float | None = None,
) -> Report:
    """Check a data set; the same data gives the same report.

    Args:
        source: the examples. They are read once; of a table no tokens are counted, which needs
            whole conversations.
        production: a sample of what production asks and what is answered there.
        validation: examples held back from training.
        tokens: of the base, for token counts.
        epochs: passes over the data that the job will make, for its time and cost.
        seconds_per_token: what training takes on the machine, 1 / (tokens per second).
        price_per_hour: of that machine, in any currency.
    """
    tally = None
    if isinstance(source, Table):
        table = source
    elif tokens is None:
        table = Table.of(source)
    else:
        tally = TokenTally(tokens)
        table = Table.of(tally.passing(source))
    findings: list[Finding] = []
    if tally is not None:
        findings += tally.findings()
    for check in CHECKS:
        findings += check(table)
    copies = [row for rows in duplicate_groups(table) for row in rows[1:]]
    near = near_duplicate_groups(table, copies)
    findings += check_near_duplicates(table, near)
    distinct = len(table) - len(copies) - sum(len(rows) - 1 for rows in near)
    findings += check_enough(len(table), distinct)
    if validation is not None:
        findings += check_leakage(table, _table(validation))
    sample = None if production is None else _table(production)
    if sample is not None:
        findings += check_production(table, sample)
    categorical = is_categorical(table.answers)
    return Report(
        kind=str(table.kind),
        rows=len(table),
        distinct=distinct,
        categorical=categorical,
        labels=_labels(table) if categorical else {},
        production_labels=_labels(sample) if categorical and sample is not None else {},
        tokens=(
            None if tally is None else tally.figures(epochs, seconds_per_token, price_per_hour)
        ),
        findings=sorted(findings, key=lambda f: (_ORDER[f.severity], -f.share, f.check)),
    )


def _table(source: Iterable[Example] | Table) -> Table:
    return source if isinstance(source, Table) else Table.of(source)


def _labels(table: Table) -> dict[str, int]:
    return dict(label_counts(table.answers).most_common(LABELS_SHOWN))


def broken_report(error: ExamplesError) -> Report:
    """The report on a file that cannot be read: a finding per problem, and how many there are."""
    findings = [
        Finding(
            "format",
            Severity.BLOCKS,
            str(problem),
            "Correct the row and check again; jobs don't accept the file as it is.",
            count=1,
            rows=() if problem.line is None else (problem.line,),
            details={"problems": error.total},
        )
        for problem in error.problems
    ]
    if error.total > len(findings):
        findings.append(
            Finding(
                "format",
                Severity.BLOCKS,
                f"There are {error.total - len(findings):,} more problems,"
                f" {error.total:,} in all; the first {len(findings)} are listed.",
                "Correct these first: the others are often of the same kind.",
                count=error.total,
                details={"problems": error.total},
            )
        )
    return Report(None, 0, 0, False, {}, {}, None, findings)


def check_file(
    path: str | Path,
    *,
    columns: Iterable[str] = (),
    validation: str | Path | None = None,
    production: str | Path | None = None,
    **options: Any,
) -> Report:
    """The report on a file of any format that the platform reads.

    Args:
        path: the examples.
        columns: renamings of its columns, `OLD=NEW`; the other files' too, where they have them.
        validation, production: files of examples, see `build_report`.
        options: others of `build_report`.

    Raises:
        ExamplesError: the validation or the production file cannot be read.
        OSError: a file cannot be opened.
    """
    renaming = list(columns)
    held_out = None if validation is None else read_table(validation, renaming, lenient=True)
    sample = None if production is None else read_table(production, renaming, lenient=True)
    try:
        with opened(path, renaming) as examples:
            return build_report(examples, validation=held_out, production=sample, **options)
    except ExamplesError as error:
        return broken_report(error)


@contextmanager
def opened(
    path: str | Path, columns: Iterable[str] = (), *, lenient: bool = False
) -> Iterator[Iterator[Example]]:
    """The examples of a file of any format, read as they are asked for.

    Args:
        columns: renamings of its columns, `OLD=NEW`.
        lenient: pass over those that the file has no column for.

    Raises:
        ExamplesError: the file cannot be read.
        OSError: it cannot be opened.
    """
    source = Path(path)
    mapping = parse_column_options(list(columns))
    with (
        renamed_columns(source, mapping, lenient=lenient) as readable,
        readable.open("rb") as stream,
    ):
        yield read_examples(stream, source.name)


def read_table(path: str | Path, columns: Iterable[str] = (), *, lenient: bool = False) -> Table:
    """The examples of a file as a table; the arguments are those of `opened`.

    Raises:
        ExamplesError: the file cannot be read.
        OSError: it cannot be opened.
    """
    with opened(path, columns, lenient=lenient) as examples:
        return Table.of(examples)
