"""Following a fine-tuning job through the API, with the official client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.platform.domain.job import FINAL

if TYPE_CHECKING:
    from openai import OpenAI

POLL_SECONDS = 1.0


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


def looks(client: OpenAI, job_id: str, *, pause: float | None = None) -> Iterator[Look]:
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
        time.sleep(POLL_SECONDS if pause is None else pause)


def duration(seconds: float) -> str:
    """`seconds` as a person says it: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
