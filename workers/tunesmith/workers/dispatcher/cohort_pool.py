"""The cohorts that are up: one per base, made when a job needs it, given back when idle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import ray
import structlog
from sqlalchemy import select

from tunesmith.platform import bases
from tunesmith.platform.database.models import BaseModel, Job
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.moves import add_event
from tunesmith.platform.settings import Settings
from tunesmith.workers.dispatcher.cohorts import CohortLost, CohortUnusable, RunningCohort
from tunesmith.workers.dispatcher.reports import Reports
from tunesmith.workers.training.work import CohortSettings

log = structlog.get_logger()

_PATIENCE_SECONDS = 15.0


class CohortPool:
    """Cohorts by the name of their base."""

    def __init__(self, settings: Settings, reports: Reports, owner: str) -> None:
        self._settings = settings
        self._reports = reports
        self._owner = owner
        self._cohorts: dict[str, RunningCohort] = {}
        self._told: set[str] = set()
        self._told_at = 0.0

    def __iter__(self) -> Iterator[RunningCohort]:
        return iter(list(self._cohorts.values()))

    def start_for(self, needed: Sequence[BaseModel]) -> None:
        """A cohort for every base that a job waits for; one of an older base ends when idle."""
        for base in needed:
            running = self._cohorts.get(base.name)
            if running is None:
                self._start(base)
            elif running.settings.base_digest != base.digest and not running.jobs:
                self.end(running)

    def ready(self) -> Iterator[RunningCohort]:
        """Cohorts whose base is resident. What cannot start is ended, and its jobs are told."""
        for cohort in self:
            try:
                known = cohort.ready
                if cohort.check_ready():
                    if not known:
                        self._record(cohort)
                    yield cohort
                else:
                    self._tell_who_waits(cohort)
            except CohortLost as error:
                log.warning("cohort lost at its start", base=cohort.base_name, why=str(error))
                self.end(cohort)
            except CohortUnusable as error:
                self.end(cohort)
                self._fail_who_waits(cohort, str(error))

    def release_idle(self) -> None:
        """End cohorts that have had no job for the time that the settings say."""
        for cohort in self:
            since = cohort.idle_since
            if cohort.jobs or since is None:
                continue
            if time.monotonic() - since > self._settings.cohort_idle_seconds:
                log.info("idle cohort released", base=cohort.base_name)
                self.end(cohort)

    def end(self, cohort: RunningCohort) -> None:
        """End a cohort's process at once."""
        self._cohorts.pop(cohort.base_name, None)
        cohort.kill()

    def _start(self, base: BaseModel) -> None:
        settings = CohortSettings(
            base_directory=base.source,
            base_digest=base.digest,
            context_length=base.context_length,
            device=self._settings.device,
            threads=self._settings.trainer_threads,
            storage_url=self._settings.storage_url,
            checkpoint_every_steps=self._settings.checkpoint_every_steps,
            quantization=self._settings.base_quantization,
            memory_bytes=self._settings.trainer_memory_bytes,
            gpu_share=self._settings.trainer_gpu_memory,
        )
        self._cohorts[base.name] = RunningCohort.start(base.name, settings, gpus=self._gpus())

    def _record(self, cohort: RunningCohort) -> None:
        """Keep what the trainer measured: jobs that could never fit are refused at creation."""
        with self._reports.database.transaction() as session:
            bases.record_trainer(
                session, cohort.base_name, cohort.settings.base_digest, dict(cohort.figures or {})
            )

    def _gpus(self) -> float:
        if self._settings.device == "auto":
            return 1.0 if ray.cluster_resources().get("GPU", 0) > 0 else 0.0
        return 1.0 if self._settings.device == "cuda" else 0.0

    def _tell_who_waits(self, cohort: RunningCohort) -> None:
        """Say once to each queued job what it waits for."""
        now = time.monotonic()
        if min(now - cohort.started_at, now - self._told_at) < _PATIENCE_SECONDS:
            return
        self._told_at = now
        what = "a GPU worker" if self._gpus() else "a worker"
        with self._reports.database.transaction() as session:
            waiting = session.scalars(
                select(Job.id).where(
                    Job.status == JobStatus.QUEUED, Job.base_name == cohort.base_name
                )
            ).all()
            for job_id in set(waiting) - self._told:
                add_event(
                    session,
                    job_id,
                    f"Waiting for {what} to hold the base {cohort.base_name}; training starts as"
                    " soon as Ray has one.",
                )
        self._told.update(waiting)

    def _fail_who_waits(self, cohort: RunningCohort, reason: str) -> None:
        """Fail the jobs that only this cohort could have trained."""
        while True:
            with self._reports.database.transaction() as session:
                lease = queue.claim(
                    session,
                    self._owner,
                    self._settings.lease_seconds,
                    status=JobStatus.QUEUED,
                    bases=[cohort.base_name],
                )
                if lease is None:
                    return
                progress.fail(session, lease, "base_unusable", reason, "model")
