"""Jobs that train in cohorts, from their claim to their model."""

from __future__ import annotations

import time
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import adapters
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import LeaseLost, TunesmithError
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.queue import Lease
from tunesmith.platform.quotas import default_limits
from tunesmith.platform.settings import Settings
from tunesmith.workers.dispatcher.cohort_pool import CohortPool
from tunesmith.workers.dispatcher.cohorts import CohortLost, RunningCohort
from tunesmith.workers.dispatcher.job_files import examples_keys, unchanged_base
from tunesmith.workers.dispatcher.job_traces import JobTraces
from tunesmith.workers.dispatcher.metrics import TrainingMetrics
from tunesmith.workers.dispatcher.publishing import Publisher
from tunesmith.workers.dispatcher.reports import Reports
from tunesmith.workers.dispatcher.waiting import Pace
from tunesmith.workers.tracking.tracker import TrackedJob
from tunesmith.workers.tracking.tracking import Tracking
from tunesmith.workers.training.work import (
    EpochStored,
    Failed,
    Finished,
    Joined,
    NoRoom,
    Noted,
    Refusal,
    StateStored,
    Stepped,
    TrainingWork,
    Update,
)

log = structlog.get_logger()


@dataclass
class _Training:
    lease: Lease
    cohort: RunningCohort
    publishing: Future[None] | None = None
    publishing_since: float = 0.0
    leaving: bool = False


class Trainings:
    """From `queued` to an end."""

    def __init__(
        self,
        settings: Settings,
        reports: Reports,
        cohorts: CohortPool,
        publisher: Publisher,
        owner: str,
        *,
        metrics: TrainingMetrics,
        tracking: Tracking,
        traces: JobTraces | None = None,
    ) -> None:
        self._settings = settings
        self._reports = reports
        self._cohorts = cohorts
        self._publisher = publisher
        self._metrics = metrics
        self._tracking = tracking
        self._traces = traces or JobTraces()
        self._owner = owner
        self._jobs: dict[str, _Training] = {}
        self._paces: dict[str, Pace] = {}

    @property
    def leases(self) -> list[Lease]:
        """Of the jobs in hand."""
        return [job.lease for job in self._jobs.values()]

    def forget(self, job_id: str) -> None:
        """A job was cancelled, or is another dispatcher's: let it go."""
        training = self._jobs.pop(job_id, None)
        if training is not None:
            log.info("job let go", job_id=job_id)
            self._traces.ended(job_id, "let go: canceled, or another dispatcher's")
            training.cohort.drop(job_id)
            self._end_runs(job_id)
            self._reports.clear_states(job_id)

    def pause(self, job_id: str) -> None:
        """A job was paused: have its state stored, and let it go with that."""
        training = self._jobs.get(job_id)
        if training is None or training.leaving:
            return
        training.leaving = True
        if training.publishing is None:  # else it ends when the publisher finds it paused
            training.cohort.leave(job_id)

    def start(self, *, queued: Collection[str]) -> None:
        """Claim queued jobs for the cohorts that have a free slot.

        Args:
            queued: names of the bases that have queued jobs.
        """
        for cohort in self._cohorts.ready():
            pace = self._paces.setdefault(cohort.base_name, Pace())
            while (
                cohort.base_name in queued
                and not cohort.full
                and len(cohort.jobs) < self._settings.slots_per_cohort
                and pace.due
            ):
                began = time.monotonic()
                if not self._start_one(cohort):  # all of them are those of tenants at their limit
                    pace.took(time.monotonic() - began)
                    break

    def _start_one(self, cohort: RunningCohort) -> bool:
        with self._reports.database.transaction() as session:
            lease = queue.claim(
                session,
                self._owner,
                self._settings.lease_seconds,
                status=JobStatus.QUEUED,
                bases=[cohort.base_name],
                limits=default_limits(self._settings),
            )
            if lease is None:
                return False
            work = self._work(session, lease, cohort)
            if isinstance(work, Refusal):
                progress.fail(session, lease, work.code, work.message, work.param)
                return True
            job = queue.leased_job(session, lease)
            first = job.started_at is None
            again = f" from step {job.resume_step}" if work.resume_key else ""
            queue.begin(session, lease, f"Fine-tuning job started{again}")
            waited = (job.started_at or 0.0) - job.created_at
            tracked = TrackedJob.of(job)
        if first:
            self._metrics.started(cohort.base_name, waited)
            since = job.prepared_at or job.created_at
            self._traces.waited(job, since, job.started_at or since)
        work = replace(work, traceparent=self._traces.began(job, "train"))
        self._metrics.progressed(cohort.base_name)
        self._jobs[lease.job_id] = _Training(lease, cohort)
        self._tracking.begin(
            tracked,
            note=lambda text: self._reports.write(
                lease.job_id, lambda s: queue.note(s, lease, text)
            ),
        )
        cohort.join(work)
        return True

    @staticmethod
    def _work(session: Session, lease: Lease, cohort: RunningCohort) -> TrainingWork | Refusal:
        job = queue.leased_job(session, lease)
        base = unchanged_base(session, job)
        if isinstance(base, Refusal):
            return base
        if base.digest != cohort.settings.base_digest:
            return Refusal("base_changed", f"The base {base.name} changed while the job waited.")
        keys = examples_keys(session, job)
        if isinstance(keys, Refusal):
            return keys
        return TrainingWork(
            job_id=job.id,
            training_key=keys[0],
            validation_key=keys[1],
            recipe=dict(job.recipe or {}),
            seed=job.seed,
            parent_digest=job.parent_digest,
            resume_key=job.resume_key,
            state_prefix=f"jobs/{job.id}/states/{lease.token}",
            held_out_key=job.held_out_key,
        )

    def take_updates(self) -> None:
        """Write down what the cohorts report; requeue the jobs of one that is lost."""
        for cohort in self._cohorts:
            if not cohort.ready:
                continue
            try:
                updates = cohort.updates()
            except CohortLost as error:
                log.warning("cohort lost", base=cohort.base_name, why=str(error))
                self._metrics.cohort_lost(cohort.base_name)
                self._cohorts.end(cohort)
                for training in list(self._jobs.values()):
                    if training.cohort is cohort and training.publishing is None:
                        self._requeue(training, "The trainer's process was lost")
                continue
            self._apply(cohort, updates)

    def _apply(self, cohort: RunningCohort, updates: list[Update]) -> None:
        if updates:
            self._metrics.progressed(cohort.base_name)
        steps: dict[str, list[Stepped]] = {}
        for update in updates:
            if isinstance(update, Stepped):
                steps.setdefault(update.job_id, []).append(update)
                continue
            # What follows a step is written after it.
            self._write_steps(update.job_id, steps.pop(update.job_id, []))
            training = self._jobs.get(update.job_id)
            if training is not None and training.cohort is cohort:
                self._apply_one(training, update)
        for job_id, pending in steps.items():
            self._write_steps(job_id, pending)

    def _write_steps(self, job_id: str, steps: list[Stepped]) -> None:
        """Write a job's steps in one transaction."""
        training = self._jobs.get(job_id)
        if not steps or training is None:
            return
        finish = time.time() + steps[-1].remaining_seconds
        metrics = [step.metrics for step in steps]
        if not self._reports.write(
            job_id,
            lambda s: progress.record_metrics(s, training.lease, metrics, estimated_finish=finish),
        ):
            self.forget(job_id)
            return
        for step in metrics:
            self._metrics.stepped(training.cohort.base_name, step)
        self._tracking.log(job_id, metrics)

    def _apply_one(self, training: _Training, update: Update) -> None:
        match update:
            case Joined():
                log.info("job joined", job_id=update.job_id, step=update.step)
            case StateStored():
                self._state_stored(training, update)
            case EpochStored():
                self._traces.event(update.job_id, "epoch stored")
                self._epoch_stored(training, update)
            case Finished():
                training.cohort.gone(update.job_id)
                self._begin_publishing(training)
                training.publishing_since = time.monotonic()
                training.publishing = self._reports.beside(
                    self._publisher.publish, training.lease, update
                )
            case Noted():
                self._reports.write(
                    update.job_id, lambda s: queue.note(s, training.lease, update.message)
                )
            case NoRoom():
                # Whoever waits longest is claimed first, again, as soon as somebody leaves.
                training.cohort.gone(update.job_id)
                training.cohort.full = bool(training.cohort.jobs)
                self._requeue(training, f"Waiting for memory: {update.message}", counts=False)
            case Failed():
                self._failed(training, update)

    def _begin_publishing(self, training: _Training) -> None:
        job_id = training.lease.job_id
        self._traces.ended(job_id)
        with self._reports.database.reading() as session:
            job = session.scalars(select(Job).where(Job.id == job_id)).one()
        self._traces.began(job, "publish")

    def _state_stored(self, training: _Training, update: StateStored) -> None:
        replaced: list[str | None] = []

        def write(session: Session) -> None:
            replaced.append(progress.record_state(session, training.lease, update.key, update.step))
            if update.left:
                queue.release(session, training.lease)

        if not self._reports.write(update.job_id, write):
            self.forget(update.job_id)
            return
        for key in replaced:
            if key is not None:
                self._reports.later(self._reports.storage.delete, key)
        if update.left:
            training.cohort.gone(update.job_id)
            del self._jobs[update.job_id]
            self._traces.ended(update.job_id, "left the cohort with its state")
            self._end_runs(update.job_id)

    def _epoch_stored(self, training: _Training, update: EpochStored) -> None:
        def write(session: Session) -> None:
            job = queue.leased_job(session, training.lease)
            if not adapters.hold_stored(session, self._reports.storage, update.adapter.digest):
                return  # deleted with an equal model meanwhile; the next epoch has its own
            progress.record_checkpoint(
                session,
                training.lease,
                update.adapter,
                model_name=progress.tuned_name(session, job),
                step=update.metrics.step,
                metrics=progress.checkpoint_metrics(update.metrics),
            )

        if not self._reports.write(update.job_id, write):
            self.forget(update.job_id)

    def _failed(self, training: _Training, update: Failed) -> None:
        training.cohort.gone(update.job_id)
        del self._jobs[update.job_id]
        self._traces.ended(update.job_id, update.code)
        self._reports.write(
            update.job_id,
            lambda s: progress.fail(s, training.lease, update.code, update.message),
        )
        self._end_runs(update.job_id)
        self._reports.clear_states(update.job_id)

    def finish(self) -> None:
        """Let go of the jobs whose publishing has ended."""
        for job_id, training in list(self._jobs.items()):
            if training.publishing is None or not training.publishing.done():
                continue
            try:
                training.publishing.result()
            except LeaseLost as error:  # cancelled, paused or taken over while it was proved
                log.info("not published", job_id=job_id, why=error.message)
                self._traces.ended(job_id, error.message)
            except TunesmithError as error:
                log.warning("publishing is tried again", job_id=job_id, why=error.message)
                self._requeue(training, f"Publishing was interrupted ({error.message})")
                continue
            else:
                self._traces.ended(job_id)
                self._metrics.published(
                    training.cohort.base_name, time.monotonic() - training.publishing_since
                )
            del self._jobs[job_id]
            self._reports.write(job_id, lambda s, t=training: queue.release(s, t.lease))  # type: ignore[misc]
            self._end_runs(job_id)
            self._reports.clear_states(job_id)

    def stop(self) -> None:
        """Store what trains, so that the next dispatcher goes on from this very step."""
        cohorts = list(self._cohorts)
        for cohort in cohorts:
            cohort.begin_stop()
        for cohort in cohorts:
            self._apply(cohort, cohort.end_stop())
        self.requeue_all("The dispatcher was stopped")

    def requeue_all(self, reason: str) -> None:
        """Put all jobs back, by no fault of theirs."""
        for training in list(self._jobs.values()):
            self._requeue(training, reason, counts=False)

    def let_go(self) -> None:
        """All jobs are another dispatcher's now: nothing is written about them."""
        for job_id in list(self._jobs):
            del self._jobs[job_id]
            self._traces.ended(job_id, "another dispatcher leads")
            self._end_runs(job_id)

    def _requeue(self, training: _Training, reason: str, *, counts: bool = True) -> None:
        job_id = training.lease.job_id
        attempts = self._settings.max_attempts if counts else None
        self._traces.ended(job_id, reason)
        del self._jobs[job_id]
        self._reports.write(
            job_id,
            lambda s: queue.requeue(s, training.lease, reason, max_attempts=attempts),
        )
        self._end_runs(job_id)

    def _end_runs(self, job_id: str) -> None:
        """End the trackers' runs of a job that was let go, with the status it has now."""

        def status() -> str:
            with self._reports.database.reading() as session:
                return session.scalars(select(Job.status).where(Job.id == job_id)).one()

        self._tracking.end(job_id, status)
