"""`tunesmith check`: the data report, without a server."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.examples import parse_column_options, renamed_columns
from tunesmith.platform.following import duration

from .connection import AsJson
from .errors import CommandFailed
from .files import Columns
from .output import console, error_console, print_json

if TYPE_CHECKING:
    from tunesmith.platform.data_report.report import Report

_STYLES = {"blocks": "bold red", "warns": "yellow", "note": "cyan"}
_LINES_SHOWN = 12


def check(
    path: Annotated[Path, typer.Argument(help="The examples.", metavar="FILE")],
    validation: Annotated[
        Path | None, typer.Option(help="Examples that training will not see.", metavar="FILE")
    ] = None,
    production: Annotated[
        Path | None,
        typer.Option(help="A sample of production use, for its labels.", metavar="FILE"),
    ] = None,
    base: Annotated[
        str,
        typer.Option(help="Whose tokens to count: 'pocket' or a model directory.", metavar="DIR"),
    ] = "pocket",
    epochs: Annotated[int, typer.Option(min=1, help="For the estimate of time.")] = 3,
    tokens_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Training speed, for the estimate of time.")
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Of the machine, for the estimate of cost.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as a page.", metavar="OUT")
    ] = None,
    rebalance: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows that spread the labels as --production does, else evenly.",
            metavar="OUT",
        ),
    ] = None,
    redact: Annotated[
        Path | None,
        typer.Option(help="Write the file without personal data.", metavar="OUT"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
    column: Columns = None,
    as_json: AsJson = False,
) -> None:
    """Check examples before you train on them. Fails (1) when something blocks."""
    from tunesmith.platform.data_report.report import check_file
    from tunesmith.platform.data_report.tokens import TokenCounter

    for out in (html, rebalance, redact):
        if out is not None and out.resolve() in {
            given.resolve() for given in (path, validation, production) if given is not None
        }:
            raise typer.BadParameter(f"{out} is an input; name another file to write to.")
    try:
        report = check_file(
            path,
            columns=column or [],
            validation=validation,
            production=production,
            tokens=TokenCounter.from_directory(base_directory(base)),
            epochs=epochs,
            seconds_per_token=None if tokens_per_second is None else 1 / tokens_per_second,
            price_per_hour=price_per_hour,
        )
        if html is not None:
            from tunesmith.platform.data_report.page import report_page

            html.write_text(report_page(report, path.name), encoding="utf-8")
        if report.rows and rebalance is not None:
            _write_rebalanced(path, rebalance, production, column)
        if report.rows and redact is not None:
            _write_redacted(path, redact, column)
    except OSError as error:
        raise CommandFailed(
            f"{error.filename or path} cannot be read or written: {error.strerror or error}."
        ) from error
    if as_json:
        print_json(report.as_json())
    else:
        _print(report, path.name)
    failing = ("blocks", "warns") if strict else ("blocks",)
    if report.worst in failing:
        raise typer.Exit(1)


def base_directory(base: str) -> Path:
    """The directory of a base: itself, or the built-in one's.

    Raises:
        InvalidRequest: the package was installed without the built-in base.
    """
    if base != "pocket":
        return Path(base)
    spec = find_spec("tunesmith")  # a namespace: nothing is imported
    for root in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(root) / "workers" / "pocket" / "model"
        if folder.is_dir():
            return folder
    raise InvalidRequest("The pocket base is not installed here: name a directory with --base.")


def _print(report: Report, name: str) -> None:
    out = console()
    figures = [f"{report.rows:,} examples"] if report.rows else []
    if report.rows != report.distinct:
        figures.append(f"{report.distinct:,} different")
    if report.categorical:
        figures.append(f"{len(report.labels)} labels")
    tokens = report.tokens
    if tokens is not None:
        figures.append(f"{tokens.total:,} tokens ({tokens.learned:,} learned)")
    out.print(Text(f"{name}: {', '.join(figures) or 'cannot be read'}", style="bold"))
    if tokens is not None:
        share = tokens.percentiles
        line = (
            f"tokens of an example: half at most {share['50']:,}, 95 % at most {share['95']:,},"
            f" the longest {tokens.maximum:,} of {tokens.context_length:,};"
            f" {tokens.trained:,} trained in {tokens.epochs} epochs"
        )
        if tokens.seconds is not None:
            line += f", about {duration(tokens.seconds)}"
        if tokens.cost is not None:
            line += f", {tokens.cost:,.2f}"
        out.print(Text(line, style="dim"))
    if report.labels:
        total = report.rows
        shown = [
            f"{label} {count / total:.0%}" for label, count in list(report.labels.items())[:12]
        ]
        out.print(Text(f"labels: {', '.join(shown)}", style="dim"))
    for finding in report.findings:
        style = _STYLES[finding.severity]
        text = Text(f"\n{finding.severity:<6} ", style=style)
        text.append(f"{finding.check.replace('_', ' ')}: ", style="bold default")
        text.append(finding.message, style="default")
        out.print(text)
        if finding.example:
            out.print(Text(f"       {finding.example}", style="dim"))
        if finding.rows:
            lines = ", ".join(map(str, finding.rows[:_LINES_SHOWN]))
            more = " ..." if finding.count > _LINES_SHOWN else ""
            out.print(Text(f"       lines {lines}{more}", style="dim"))
        out.print(Text(f"       → {finding.advice}"))
    if not report.findings:
        out.print(Text("Nothing found.", style="green"))


def _write_rebalanced(
    path: Path, out: Path, production: Path | None, columns: list[str] | None
) -> None:
    from tunesmith.platform.data_report.balance import rebalanced_rows
    from tunesmith.platform.data_report.report import opened, read_table

    table = read_table(path, columns or [])
    sample = None if production is None else read_table(production, columns or [], lenient=True)
    try:
        kept = set(rebalanced_rows(table, sample))
    except ValueError as error:
        raise CommandFailed(f"--rebalance: {error}") from error
    written = 0
    with opened(path, columns or []) as examples, out.open("wb") as target:
        for row, example in enumerate(examples):
            if row in kept:
                content: dict[str, Any] = json.loads(example.to_json())
                content.pop("line")
                target.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")
                written += 1
    error_console().print(f"{written:,} of {len(table):,} rows are written to {out}.", markup=False)


def _write_redacted(path: Path, out: Path, columns: list[str] | None) -> None:
    from tunesmith.platform.data_report.redaction import redact

    with renamed_columns(path, parse_column_options(columns or [])) as source:
        summary = redact(source, path.name, out)
    replaced = ", ".join(f"{count:,} {kind}" for kind, count in summary.replaced.items())
    error_console().print(
        f"{summary.examples:,} rows are written to {out}, {summary.changed:,} of them redacted"
        f" ({replaced or 'nothing found'}).",
        markup=False,
    )
