"""Following a job to its end: what is new, and one live line of progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunesmith.platform.domain.job import FINAL

from .errors import CommandFailed
from .output import duration

if TYPE_CHECKING:
    from openai import OpenAI

POLL_SECONDS = 1.0
PLAIN_LINE_SECONDS = 5.0


@dataclass(frozen=True)
class Progress:
    """Where a job is. Times are seconds since the epoch; losses nats per token."""

    status: str
    step: int = 0
    total_steps: int | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    estimated_finish: float | None = None

    def line(self, moment: float) -> str:
        """One line: status, steps, loss, time left at `moment`."""
        words = [self.status.replace("_", " ")]
        if self.total_steps:
            share = self.step / self.total_steps
            words.append(f"step {self.step}/{self.total_steps} ({share:.0%})")
        if self.train_loss is not None:
            words.append(f"loss {self.train_loss:.3f}")
        if self.valid_loss is not None:
            words.append(f"validation loss {self.valid_loss:.3f}")
        if self.status == "running" and self.estimated_finish:
            words.append(f"ETA {duration(self.estimated_finish - moment)}")
        return "  ".join(words)


@dataclass(frozen=True)
class Look:
    """One look at a job: the job, its progress, and the messages since the look before."""

    job: dict[str, Any]
    progress: Progress
    messages: list[dict[str, Any]]


def looks(client: OpenAI, job_id: str, *, pause: float = POLL_SECONDS) -> Iterator[Look]:
    """Look at a job again and again until it has ended; the last look sees the end."""
    seen: set[str] = set()
    metrics: dict[str, Any] = {}
    while True:
        # The job before its events: no event of an ended job is missed.
        job = client.fine_tuning.jobs.retrieve(job_id).model_dump(mode="json")
        fresh: list[dict[str, Any]] = []
        for event in client.fine_tuning.jobs.list_events(job_id, limit=50):
            if event.id in seen:
                break  # newest first: the rest was seen before
            seen.add(event.id)
            fresh.append(event.model_dump(mode="json"))
        figures = [event["data"] for event in fresh if event.get("type") == "metrics"]
        newest = figures[0] if figures else None
        if newest:
            metrics = newest
        progress = Progress(
            status=job["status"],
            step=metrics.get("step", 0),
            total_steps=metrics.get("total_steps"),
            train_loss=metrics.get("train_loss"),
            valid_loss=metrics.get("valid_loss"),
            estimated_finish=job.get("estimated_finish"),
        )
        messages = [event for event in reversed(fresh) if event.get("type") != "metrics"]
        yield Look(job, progress, messages)
        if job["status"] in FINAL:
            return
        time.sleep(pause)


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
