"""What a tracker is asked for, and what it is told of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.training import StepMetrics


@dataclass(frozen=True)
class TrackedJob:
    """A job as its runs show it.

    Attributes:
        config: what decides its result: hyperparameters, base, method, seed, suffix.
        resume_step: the step that it goes on from; its runs go on too. 0 for a new job.
        integrations: of OpenAI's shape, as the client asked for them.
    """

    id: str
    config: dict[str, Any]
    resume_step: int = 0
    integrations: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, job: Job) -> TrackedJob:
        """The job as it is in the database."""
        config = {
            **(job.hyperparameters or {}),
            "model": job.model,
            "base": job.base_name,
            "method": (job.method or {}).get("type"),
            "seed": job.seed,
            "suffix": job.suffix,
        }
        integrations = [i for i in job.integrations or [] if isinstance(i, dict)]
        return cls(job.id, config, job.resume_step if job.resume_key else 0, integrations)


class Run(Protocol):
    """One job at one tracker, used by one thread."""

    @property
    def note(self) -> str | None:
        """A sentence for the job's events: where people see the run, if anywhere."""
        ...

    def log(self, steps: Sequence[StepMetrics]) -> None:
        """Steps were trained. After a loss of its worker a job may train a step again."""
        ...

    def close(self, status: str) -> None:
        """The job ended, or (`queued`, `paused`, `running`) goes on later or elsewhere."""
        ...


class Tracker(Protocol):
    """A library that keeps runs."""

    name: str

    def runs(self, job: TrackedJob) -> Sequence[Any]:
        """What identifies each run that this job is to have here; none when it is to have none."""
        ...

    def begin(self, job: TrackedJob, which: Any) -> Run:
        """Begin one of `runs`, or go on with it. May take long, and raise what the library does."""
        ...


def figures(step: StepMetrics) -> dict[str, float]:
    """The figures of a step, without its number."""
    return {
        name: float(value)
        for name, value in step.data().items()
        if name not in {"step", "total_steps"}
    }
