"""TensorBoard: a folder of event files per job, for `tensorboard --logdir`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.training import StepMetrics
from tunesmith.workers.tracking.tracker import TrackedJob, figures


class TensorboardTracker:
    """Event files under `directory`/JOB."""

    name = "tensorboard"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def runs(self, job: TrackedJob) -> Sequence[None]:  # noqa: ARG002 - all alike
        """One for every job."""
        return [None]

    def begin(self, job: TrackedJob, which: None) -> TensorboardRun:  # noqa: ARG002 - there is one
        from tensorboardX import SummaryWriter

        # What was written past the step that the job goes on from is not shown any more.
        purge = job.resume_step + 1 if job.resume_step else None
        writer = SummaryWriter(str(self._directory / job.id), purge_step=purge)
        config = json.dumps(job.config, indent=1, default=str)
        writer.add_text("config", f"```json\n{config}\n```", job.resume_step)
        return TensorboardRun(writer)


class TensorboardRun:
    """One folder."""

    note = None

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._step = 0

    def log(self, steps: Sequence[StepMetrics]) -> None:
        for step in steps:
            self._step = step.step
            for name, value in figures(step).items():
                self._writer.add_scalar(name, value, step.step)
        self._writer.flush()

    def close(self, status: str) -> None:
        self._writer.add_text("status", status, self._step)
        self._writer.close()
