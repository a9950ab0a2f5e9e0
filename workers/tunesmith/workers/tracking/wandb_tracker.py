"""Weights & Biases: a run for every integration that the job's client asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.training import StepMetrics
from tunesmith.workers.tracking.tracker import TrackedJob, figures

_FAILED = {"failed", "cancelled"}


class WandbTracker:
    """Account, server and mode are W&B's own variables (WANDB_API_KEY, WANDB_BASE_URL...).

    Its own files go to `directory`/wandb.
    """

    name = "wandb"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def runs(self, job: TrackedJob) -> Sequence[dict[str, Any]]:
        """The `wandb` objects of the job's integrations; of two for one project, the last."""
        found = (i.get("wandb") for i in job.integrations if i.get("type") == "wandb")
        wanted = (which for which in found if isinstance(which, dict) and which.get("project"))
        return list({(which.get("entity"), which["project"]): which for which in wanted}.values())

    def begin(self, job: TrackedJob, which: dict[str, Any]) -> WandbRun:
        import wandb

        self._directory.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=which["project"],
            entity=which.get("entity"),
            name=which.get("name") or job.id,
            tags=which.get("tags") or [],
            id=job.id,
            resume="allow",
            config=job.config,
            dir=str(self._directory),
            # Several jobs of one process have runs side by side.
            reinit="create_new",
            # What the dispatcher's process prints and its machine is are no tenant's business.
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                save_code=False,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
        return WandbRun(run)


class WandbRun:
    """One run."""

    def __init__(self, run: Any) -> None:
        self._run = run

    @property
    def note(self) -> str | None:
        """None offline: there is no address then."""
        return None if self._run.offline else f"The job's W&B run: {self._run.url}"

    def log(self, steps: Sequence[StepMetrics]) -> None:
        # W&B keeps the first of two figures of a step; a step that is trained again has the same.
        for step in steps:
            self._run.log(figures(step), step=step.step)

    def close(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=int(status in _FAILED))
