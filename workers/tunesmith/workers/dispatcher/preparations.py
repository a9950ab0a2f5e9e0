"""Jobs whose files are being read, each by a Ray task."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import ray
import structlog
from ray.exceptions import RayError
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import Prepared
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.queue import Lease
from tunesmith.platform.settings import Settings
from tunesmith.workers.dispatcher.job_files import examples_keys, unchanged_base
from tunesmith.workers.dispatcher.job_traces import JobTraces
from tunesmith.workers.dispatcher.needs import Needs, of_reader, waiting_for
from tunesmith.workers.dispatcher.ray_cluster import RayCluster
from tunesmith.workers.dispatcher.reports import Reports
from tunesmith.workers.dispatcher.waiting import Pace, tell
from tunesmith.workers.training.cohort_actor import prepare_job, warm_up
from tunesmith.workers.training.work import PreparationWork, Refusal, Reporting

log = structlog.get_logger()

_AT_ONCE = 4
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class _Preparing:
    lease: Lease
    ref: Any
    needs: Needs
    since: float


class Preparations:
    """From `validating_files` to `queued`."""

    def __init__(
        self,
        settings: Settings,
        reports: Reports,
        ray: RayCluster,
        owner: str,
        traces: JobTraces | None = None,
    ) -> None:
        self._settings = settings
        self._traces = traces or JobTraces()
        self._reports = reports
        self._ray = ray
        self._owner = owner
        self._jobs: dict[str, _Preparing] = {}
        self._warming: Any = None  # Ray drops a task that nobody refers to
        self._pace = Pace()
        self._told_at = float("-inf")

    @property
    def leases(self) -> list[Lease]:
        """Of the jobs in hand."""
        return [job.lease for job in self._jobs.values()]

    def forget(self, job_id: str) -> None:
        """A job is not ours any more."""
        preparing = self._jobs.pop(job_id, None)
        if preparing is not None:
            self._traces.ended(job_id, "let go: canceled, or another dispatcher's")
            ray.cancel(preparing.ref)

    def warm_up(self) -> None:
        """Have a process of Ray's load the libraries that the first job will need."""
        self._warming = warm_up.remote()

    def start(self) -> None:
        """Claim what waits, as long as there is room."""
        while self._pace.due and len(self._jobs) < _AT_ONCE:
            began = time.monotonic()
            with self._reports.database.transaction() as session:
                lease = queue.claim(
                    session,
                    self._owner,
                    self._settings.lease_seconds,
                    status=JobStatus.VALIDATING_FILES,
                    max_attempts=self._settings.max_attempts,
                )
                if lease is None:  # all that wait are in hand
                    self._pace.took(time.monotonic() - began)
                    return
                work = self._work(session, lease)
                if isinstance(work, Refusal):
                    progress.fail(session, lease, work.code, work.message, work.param)
                    continue
                job = queue.leased_job(session, lease)
                base = job.base_name
            work = replace(work, traceparent=self._traces.began(job, "validate files"))
            needs = of_reader(self._settings, base)
            ref = prepare_job.options(**needs.options()).remote(work)
            self._jobs[lease.job_id] = _Preparing(lease, ref, needs, time.monotonic())

    def tell_who_waits(self) -> None:
        """Say once to each job whose files nobody reads yet what it waits for."""
        now = time.monotonic()
        late = [job for job in self._jobs.values() if now - job.since > _PATIENCE_SECONDS]
        if not late or now - self._told_at < _PATIENCE_SECONDS:
            return
        self._told_at = now
        total, free = self._ray.total(), self._ray.free()
        for needs in {str(job.needs): job.needs for job in late}.values():
            if not needs.missing(total) and not needs.missing(free):
                continue  # it is being read: large files take long
            message = waiting_for(needs, total, free, "to read the job's files")
            with self._reports.database.transaction() as session:
                tell(
                    session,
                    message,
                    JobStatus.VALIDATING_FILES,
                    Job.id.in_([job.lease.job_id for job in late if str(job.needs) == str(needs)]),
                    after=None,
                )

    def finish(self) -> None:
        """Write down what the tasks that have ended found out."""
        for job_id, preparing in list(self._jobs.items()):
            done, _ = ray.wait([preparing.ref], timeout=0)
            if not done:
                continue
            del self._jobs[job_id]
            lease = preparing.lease
            try:
                result: Prepared | Refusal = ray.get(preparing.ref)
            except RayError as error:
                # The process died, or storage did not answer: it is claimed again.
                log.warning("preparation failed", job_id=job_id, why=str(error))
                self._traces.ended(job_id, str(error))
                self._give_back(lease)
                self._reports.stopping.wait(0.5)
                continue
            self._traces.ended(job_id, result.code if isinstance(result, Refusal) else None)
            self._reports.write(job_id, lambda s, t=lease, r=result: _write(s, t, r))  # type: ignore[misc]

    def let_go(self) -> None:
        """All jobs are another dispatcher's now."""
        for job_id in list(self._jobs):
            self.forget(job_id)

    def stop(self) -> None:
        """Give all leases back."""
        for preparing in self._jobs.values():
            self._traces.ended(preparing.lease.job_id, "the dispatcher was stopped")
            self._give_back(preparing.lease)
        self._jobs.clear()

    def _give_back(self, lease: Lease) -> None:
        self._reports.write(lease.job_id, lambda session: queue.release(session, lease))

    def _work(self, session: Session, lease: Lease) -> PreparationWork | Refusal:
        job = queue.leased_job(session, lease)
        base = unchanged_base(session, job)
        if isinstance(base, Refusal):
            return base
        keys = examples_keys(session, job)
        if isinstance(keys, Refusal):
            return keys
        return PreparationWork(
            job_id=job.id,
            base_directory=base.source,
            context_length=base.context_length,
            storage_url=self._settings.storage_url,
            training_key=keys[0],
            validation_key=keys[1],
            hyperparameters=job.hyperparameters,
            max_rank=base.max_rank,
            parent_digest=job.parent_digest,
            method=job.method["type"],
            seed=job.seed,
            trainer=base.config.get("trainer"),
            ignore_data_report=bool(job.ignore_data_report),
            reporting=Reporting.of(self._settings),
        )


def _write(session: Session, lease: Lease, result: Prepared | Refusal) -> None:
    if isinstance(result, Refusal):
        progress.fail(session, lease, result.code, result.message, result.param)
        return
    progress.prepared(session, lease, result)
