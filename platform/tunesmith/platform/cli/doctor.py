"""`tunesmith doctor`: would this machine run the platform, and what to do if not."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text

from .connection import AsJson
from .output import console, print_json
from .settings import read_settings

if TYPE_CHECKING:
    from .checks import Finding

_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}


def doctor(
    home: Annotated[Path | None, typer.Option(help="The platform's home.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.")] = None,
    database_url: Annotated[str | None, typer.Option(help="PostgreSQL or SQLite.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check what is installed, what would fail, and say what to do; exit code 1 if it blocks."""
    from .checks import Verdict, findings  # the database's libraries take a second to load

    settings = read_settings(config, home=home, host=host, port=port, database_url=database_url)
    found: list[Finding] = []
    if as_json:
        found = list(findings(settings))
    else:
        out = console()
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=out, transient=True,
            disable=not sys.stdout.isatty(),
        ) as progress:  # fmt: skip
            progress.add_task("looking; libraries take a few seconds each")
            for finding in findings(settings):
                found.append(finding)
                out.print(_line(finding))
    blocked = [finding for finding in found if finding.verdict == Verdict.FAIL]
    if as_json:
        print_json({"ok": not blocked, "checks": [asdict(finding) for finding in found]})
    elif blocked:
        names = ", ".join(finding.name for finding in blocked)
        out.print(f"\n`tunesmith up` would fail: {names}.", style="red", markup=False)
    else:
        out.print("\nNothing stands in the way of `tunesmith up`.", style="green")
    if blocked:
        raise typer.Exit(1)


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.verdict]
    text = Text.assemble((mark, style), "  ", (f"{finding.name:<14}", "bold"), finding.found)
    if finding.advice:
        text.append(f"\n      {finding.advice}", style=style)
    return text
