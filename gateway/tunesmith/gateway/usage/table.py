"""A report of use as CSV: for spreadsheets, which take some texts for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from tunesmith.platform.usage.report import Report

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

COLUMNS = (
    "tenant",
    "day",
    "model",
    "alias",
    "key",
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "training_tokens",
    "stored_bytes",
    "gib_months",
    "cost",
    "currency",
)


def csv_of(report: Report) -> Iterator[str]:
    """The report's lines under a line of titles, then its storage."""
    names = report.group_by
    titles = [title for title in COLUMNS if title in names or title in COLUMNS[5:]]
    yield _line(titles)
    for line in report.lines:
        cells: dict[str, object] = {
            **line.names,
            **line.counts._asdict(),
            "training_tokens": line.training_tokens,
            "cost": line.cost,
        }
        yield _line([cells.get(title) for title in titles], report.currency)
    for stored in report.storage:
        cells = {
            **stored.names,
            "stored_bytes": stored.bytes,
            "gib_months": stored.gib_months,
            "cost": stored.cost,
        }
        yield _line([cells.get(title) for title in titles], report.currency)


def _line(cells: list[object] | list[str], currency: str | None = None) -> str:
    out = io.StringIO()
    values = list(cells)
    if currency is not None:
        values[-1] = currency if values[-2] is not None else None
    csv.writer(out).writerow(_cell(value) for value in values)
    return out.getvalue()


def _cell(value: object) -> object:
    """A text that a spreadsheet would calculate gets a mark that makes it a text (OWASP)."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return f"{value:.9f}" if isinstance(value, float) else value
