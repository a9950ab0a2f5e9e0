"""How commands print: tables and colours for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunesmith.platform.following import duration

_STYLES = {
    "succeeded": "green",
    "processed": "green",
    "running": "cyan",
    "failed": "red",
    "error": "red",
    "warn": "yellow",
    "cancelled": "yellow",
    "paused": "yellow",
}


def console() -> Console:
    """The terminal's output. Made anew, so that a redirected stdout is honoured."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def error_console() -> Console:
    """The terminal's error output."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print `value` as JSON and nothing else."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under column titles, or the sentence `empty`.

    Where stdout is no terminal, cells are separated by tabs and never cut.
    """
    listed = [[_cell(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in ([*columns], *listed) if listed else ():
            print("\t".join(line))
        if not listed:
            print(empty, file=sys.stderr)
        return
    if not listed:
        console().print(empty, style="dim")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in listed:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print an object, a field a line; fields that are not there are left out."""
    width = max(map(len, fields))
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            text = Text(f"{name:<{width}}  ", style="dim")
            cell = _cell(value)
            text.append(cell, style=_STYLES.get(cell, "default"))
            console().print(text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}={_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return str(value)


def moment(seconds: float | None) -> str:
    """A time (seconds since the epoch) as local date and time."""
    return (
        datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        if seconds
        else ""
    )


def until(seconds: float | None) -> str:
    """The time from now to a moment (seconds since the epoch)."""
    return duration(seconds - time.time()) if seconds else ""


def size(count: int) -> str:
    """A number of bytes: 512 B, 3.4 kB, 12.0 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def plain(item: Any) -> Any:
    """An object of the `openai` package as JSON types."""
    return item.model_dump(mode="json") if hasattr(item, "model_dump") else item
