"""Following a job to its end: what is new, and one live line of progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunesmith.platform.following import looks

from .errors import CommandFailed

if TYPE_CHECKING:
    from openai import OpenAI

PLAIN_LINE_SECONDS = 5.0


class ProgressLine(Protocol):
    """Where progress is shown."""

    def update(self, line: str) -> None:
        """Show `line` instead of the line before."""

    def say(self, line: str) -> None:
        """Print `line` to stay."""


class _Plain:
    """For logs: a line now and then, only when something changed."""

    def __init__(self) -> None:
        self._last_line = ""
        self._last_time = float("-inf")

    def update(self, line: str) -> None:
        moment = time.monotonic()
        if line != self._last_line and moment - self._last_time >= PLAIN_LINE_SECONDS:
            self.say(line)
            self._last_line, self._last_time = line, moment

    def say(self, line: str) -> None:
        print(line, flush=True)


class _Terminal:
    """For people: one line that changes in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def update(self, line: str) -> None:
        self._live.update(Text(line, style="cyan", no_wrap=True, overflow="ellipsis"))

    def say(self, line: str) -> None:
        self._live.console.print(line, highlight=False, markup=False)


@contextmanager
def progress_line() -> Iterator[ProgressLine]:
    """A line of progress on stdout, as fits what stdout is."""
    if not sys.stdout.isatty():
        yield _Plain()
        return
    with Live(Text(""), console=Console(), transient=True, refresh_per_second=4) as live:
        yield _Terminal(live)


def follow(client: OpenAI, job_id: str, shown: ProgressLine) -> dict[str, Any]:
    """Show a job's progress until it has ended; the ended job."""
    for look in looks(client, job_id):
        for event in look.messages:
            shown.say(event["message"])
        shown.update(look.progress.line(time.time()))
    return look.job


def check_succeeded(job: dict[str, Any]) -> dict[str, Any]:
    """`job`, if it succeeded.

    Raises:
        CommandFailed: it failed or was cancelled; the message says why.
    """
    if job["status"] == "succeeded":
        return job
    error = job.get("error") or {}
    reason = f": {error['message']}" if error.get("message") else "."
    raise CommandFailed(f"The job {job['id']} {_ended(job['status'])}{reason}")


def _ended(status: str) -> str:
    return "was cancelled" if status == "cancelled" else status
