"""MLflow: a run per job in the experiment `tunesmith`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tunesmith.platform.domain.training import StepMetrics
from tunesmith.workers.tracking.tracker import TrackedJob, figures

EXPERIMENT = "tunesmith"
_JOB = "tunesmith.job_id"
_ENDS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
_AT_ONCE = 1000  # metrics that MLflow takes in one request


class MlflowTracker:
    """Runs at the server or store of `uri`."""

    name = "mlflow"

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def runs(self, job: TrackedJob) -> Sequence[None]:  # noqa: ARG002 - all alike
        """One for every job."""
        return [None]

    def begin(self, job: TrackedJob, which: None) -> MlflowRun:  # noqa: ARG002 - there is one
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        client = MlflowClient(tracking_uri=self._uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            try:
                experiment_id = client.create_experiment(EXPERIMENT)
            except MlflowException:  # another job's run was first, a moment ago
                experiment = client.get_experiment_by_name(EXPERIMENT)
                if experiment is None:
                    raise
        if experiment is not None:
            experiment_id = experiment.experiment_id
        known = client.search_runs([experiment_id], f"tags.`{_JOB}` = '{job.id}'", max_results=1)
        if known:
            run_id = known[0].info.run_id
            client.update_run(run_id, status="RUNNING")
        else:
            run = client.create_run(experiment_id, run_name=job.id, tags={_JOB: job.id})
            run_id = run.info.run_id
        parameters = [Param(name, str(value)) for name, value in job.config.items()]
        client.log_batch(run_id, params=parameters)
        return MlflowRun(client, run_id)


class MlflowRun:
    """One run."""

    note = None

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self._run_id = run_id

    def log(self, steps: Sequence[StepMetrics]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, step.step)
            for step in steps
            for name, value in figures(step).items()
        ]
        for start in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._run_id, metrics=metrics[start : start + _AT_ONCE])

    def close(self, status: str) -> None:
        self._client.set_tag(self._run_id, "tunesmith.status", status)
        if status in _ENDS:
            self._client.set_terminated(self._run_id, _ENDS[status])
