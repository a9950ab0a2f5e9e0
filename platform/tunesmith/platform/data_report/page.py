"""The data report as one HTML page that loads nothing from anywhere."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from tunesmith.platform.following import duration

from .balance import shares_of
from .plots import Bar, Column, label_bars, length_columns
from .report import Report

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def report_page(report: Report, filename: str) -> str:
    """The page. Everything that came from data is escaped.

    Args:
        report: what to show.
        filename: what the user calls the file.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["duration"] = duration
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    here, there = shares_of(report.labels), shares_of(report.production_labels)
    names = [*here, *(label for label in there if label not in here)][:40]
    tokens = report.tokens
    return template.render(
        filename=filename,
        report=report,
        tokens=tokens,
        labels=label_bars(
            [Bar(n, here.get(n, 0.0), there.get(n, 0.0) if there else None) for n in names]
        )
        if names
        else None,
        lengths=length_columns([Column(*bar) for bar in tokens.histogram], tokens.context_length)
        if tokens
        else None,
    )
