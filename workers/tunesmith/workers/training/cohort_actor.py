"""The Ray actor that holds a cohort, and the Ray task that prepares a job."""

from __future__ import annotations

from typing import Any

import ray
from structlog.contextvars import bound_contextvars

from tunesmith.platform.logs import configure_logs
from tunesmith.workers.training.reporting import begin_reporting
from tunesmith.workers.training.work import CohortSettings, TrainingWork, Update

# The dispatcher waits in `updates` while others call: one thread for each at the same time.
_THREADS = 4


@ray.remote(max_restarts=0, max_concurrency=_THREADS)
class CohortActor:
    """`CohortWorker` in its own process, on the device that Ray gave it."""

    def __init__(self, settings: CohortSettings) -> None:
        tracing = begin_reporting(settings.reporting, "trainer")
        # Imported here: the dispatcher, which only names this class, does not load torch.
        from tunesmith.workers.training.cohort_worker import CohortWorker

        self._worker = CohortWorker(settings, tracing)

    def ready(self) -> dict[str, Any]:
        """See `CohortWorker.figures`; answers once the base is resident."""
        return self._worker.figures()

    def join(self, work: TrainingWork) -> None:
        """See `CohortWorker.join`."""
        self._worker.join(work)

    def leave(self, job_id: str) -> None:
        """See `CohortWorker.leave`."""
        self._worker.leave(job_id)

    def drop(self, job_id: str) -> None:
        """See `CohortWorker.drop`."""
        self._worker.drop(job_id)

    def updates(self, timeout: float) -> list[Update]:
        """See `CohortWorker.updates`."""
        return self._worker.updates(timeout)

    def stop(self) -> None:
        """See `CohortWorker.stop`."""
        self._worker.stop()


@ray.remote(max_retries=0, num_cpus=0)  # type: ignore[untyped-decorator]
def warm_up() -> None:
    """Load what `prepare_job` needs; Ray keeps the process for the next task."""
    import tunesmith.workers.training.preparation  # noqa: F401


@ray.remote(max_retries=2, num_cpus=0)  # type: ignore[untyped-decorator]
def prepare_job(work: Any) -> Any:
    """See `preparation.prepare`."""
    from tunesmith.workers.training.preparation import prepare

    configure_logs(work.reporting, process="reader")
    with bound_contextvars(job_id=work.job_id):
        return prepare(work)
