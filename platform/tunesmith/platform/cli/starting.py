"""How the parts do while the platform starts: a live table, or plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tunesmith.platform.supervisor.local_platform import LocalPlatform
from tunesmith.platform.supervisor.part import PartState, PartStatus

_WHAT = {
    "base": "finds the base model and its digest",
    "ray": "runs the training",
    "engine": "vLLM: serves the base and the adapters",
    "dispatcher": "gives jobs to Ray",
    "evaluator": "measures what was tuned, reports on data",
    "gateway": "the API",
}


class StartLines:
    """A line for every change of a part, for logs and pipes."""

    def __init__(self, platform: LocalPlatform, say: Callable[[str], None]) -> None:
        self._say = say
        self._platform = platform
        self._began = time.monotonic()

    def __call__(self, name: str, status: PartStatus) -> None:
        """Tell of a part's change."""
        if status.state in (PartState.READY, PartState.RESTARTING):
            note = f": {status.note}" if status.note else ""
            if status.state == PartState.RESTARTING:
                note += f"; its log: {self._platform.supervisor.log_file(name)}"
            self._say(f"{time.monotonic() - self._began:6.1f} s  {name} {status.state}{note}")


class _StartTable:
    def __init__(self, platform: LocalPlatform) -> None:
        self._platform = platform
        self._began = time.time()
        self._spinner = Spinner("dots")

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 2))
        for name, status in self._platform.supervisor.status.items():
            style = {PartState.READY: "green", PartState.RESTARTING: "red"}.get(status.state, "dim")
            if status.state == PartState.STARTING:
                mark, style = self._spinner.render(time.time()), "cyan"
            else:
                mark = Text("✓" if status.state == PartState.READY else "·", style=style)
            seconds = (
                f"{status.since - self._began:.0f} s" if status.state == PartState.READY else ""
            )
            if status.state == PartState.STARTING:
                seconds = f"{time.time() - status.since:.0f} s"
            table.add_row(
                mark, name, Text(str(status.state), style=style), Text(seconds, justify="right"),
                Text(status.note or _WHAT.get(name, ""), style="dim"),
            )  # fmt: skip
        yield table


@contextmanager
def shown_start(platform: LocalPlatform) -> Iterator[None]:
    """Show the parts of a platform that is about to run, for as long as it starts."""
    if not sys.stdout.isatty():
        platform.on_change = StartLines(platform, lambda line: print(line, flush=True))
        yield
        return
    with Live(_StartTable(platform), console=Console(), refresh_per_second=8):
        yield
