"""The dispatcher's loop."""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ray
import structlog
from ray.exceptions import RayError
from sqlalchemy import select

from tunesmith.platform import adapters, bases, heartbeats
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import File, Job, Tenant
from tunesmith.platform.domain.errors import LeaseLost, TunesmithError, Unavailable
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.names import tuned_model_name
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.moves import add_event
from tunesmith.platform.jobs.progress import StepMetrics, StoredAdapter
from tunesmith.platform.jobs.queue import Lease
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.workers.dispatcher.cohorts import CohortLost, CohortUnusable, RunningCohort
from tunesmith.workers.dispatcher.publishing import Publisher
from tunesmith.workers.dispatcher.sweeping import sweep
from tunesmith.workers.training.cohort_actor import prepare_job
from tunesmith.workers.training.work import (
    CohortSettings,
    EpochStored,
    Failed,
    Finished,
    Joined,
    Preparation,
    PreparationWork,
    Refusal,
    StateStored,
    Stepped,
    TrainingWork,
    Update,
)

log = structlog.get_logger()

_PASS_SECONDS = 0.1
_PREPARATIONS = 4
_PUBLISH_WAIT_SECONDS = 600.0
_WAITING_NOTE_SECONDS = 15.0
_SWEEP_SECONDS = 60.0


@dataclass
class _Preparing:
    lease: Lease
    ref: Any


@dataclass
class _Training:
    lease: Lease
    cohort: RunningCohort
    publishing: Future[None] | None = None
    leaving: bool = False


class Dispatcher:
    """Takes jobs from the database to cohorts and writes down what comes back.

    Every job in hand is held under a lease that each pass renews when a third of it is over. What
    fails for one job is that job's; a database or storage that does not answer is tried again.
    """

    def __init__(self, settings: Settings, database: Database, storage: Storage) -> None:
        self._settings = settings
        self._database = database
        self._storage = storage
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._cohorts: dict[str, RunningCohort] = {}
        self._preparing: dict[str, _Preparing] = {}
        self._training: dict[str, _Training] = {}
        self._stopping = threading.Event()
        self._renewed_at = 0.0
        self._swept_at = time.monotonic()
        self._noted_waiting: set[str] = set()
        self._slow = ThreadPoolExecutor(4, "publish")
        self._publisher = Publisher(
            database,
            storage,
            settings.engines,
            wait_seconds=_PUBLISH_WAIT_SECONDS,
            stopping=self._stopping.is_set,
        )

    def stop(self) -> None:
        """End the loop soon; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Work until `stop`; then states are stored, leases given back and jobs requeued."""
        while not self._stopping.is_set():
            for part in (
                self._keep_leases,
                self._take_back_abandoned,
                self._finish_preparations,
                self._start_preparations,
                self._start_cohorts,
                self._start_training,
                self._take_updates,
                self._finish_publishing,
                self._release_idle_cohorts,
                self._sweep,
            ):
                try:
                    part()
                except TunesmithError as error:
                    log.warning("dispatcher waits", part=part.__name__, why=error.message)
                    self._stopping.wait(1.0)
            self._stopping.wait(_PASS_SECONDS)
        self._wind_down()

    # Leases

    def _keep_leases(self) -> None:
        seconds = self._settings.lease_seconds
        due = time.monotonic() - self._renewed_at > seconds / 3
        leases = [preparing.lease for preparing in self._preparing.values()]
        leases += [training.lease for training in self._training.values()]
        ids = [lease.job_id for lease in leases]
        if not due and not ids:
            return
        if due:
            with self._database.transaction() as session:
                heartbeats.beat(session, "dispatcher")
                held = queue.renew(session, leases, seconds)
                paused = self._paused(session, ids)
            self._renewed_at = time.monotonic()
        else:
            with self._database.reading() as session:
                tokens = {lease.job_id: lease.token for lease in leases}
                rows = session.execute(select(Job.id, Job.lease_token).where(Job.id.in_(ids)))
                held = {job_id for job_id, token in rows if tokens[job_id] == token}
                paused = self._paused(session, ids)
        for lease in leases:
            if lease.job_id not in held:
                self._forget(lease.job_id)
        for job_id in paused & self._training.keys():
            self._let_leave(job_id)

    @staticmethod
    def _paused(session: Any, ids: list[str]) -> set[str]:
        query = select(Job.id).where(Job.id.in_(ids), Job.status == JobStatus.PAUSED)
        return set(session.scalars(query))

    def _forget(self, job_id: str) -> None:
        """The job was cancelled, or is another dispatcher's: let it go."""
        log.info("job let go", job_id=job_id)
        preparing = self._preparing.pop(job_id, None)
        if preparing is not None:
            ray.cancel(preparing.ref)
        training = self._training.pop(job_id, None)
        if training is not None:
            training.cohort.drop(job_id)
            self._later(self._clear_states, job_id)

    def _let_leave(self, job_id: str) -> None:
        training = self._training[job_id]
        if training.leaving:
            return
        if training.publishing is None:
            training.cohort.leave(job_id)
        training.leaving = True

    def _take_back_abandoned(self) -> None:
        if self._renewed_at and time.monotonic() - self._renewed_at > _PASS_SECONDS * 2:
            return  # once after each renewal is often enough
        with self._database.transaction() as session:
            queue.requeue_abandoned(session, max_attempts=self._settings.max_attempts)

    # Preparation

    def _start_preparations(self) -> None:
        while len(self._preparing) < _PREPARATIONS:
            work: PreparationWork | Refusal
            with self._database.transaction() as session:
                lease = queue.claim(
                    session,
                    self._owner,
                    self._settings.lease_seconds,
                    status=JobStatus.VALIDATING_FILES,
                    max_attempts=self._settings.max_attempts,
                )
                if lease is None:
                    return
                work = self._preparation_work(session, lease)
                if isinstance(work, Refusal):
                    progress.fail(session, lease, work.code, work.message, work.param)
                    continue
            self._preparing[lease.job_id] = _Preparing(lease, prepare_job.remote(work))

    def _preparation_work(self, session: Any, lease: Lease) -> PreparationWork | Refusal:
        job = queue.leased_job(session, lease)
        base = bases.find_base(session, job.base_name)
        if base is None or base.digest != job.base_digest:
            return Refusal(
                "base_changed",
                f"The base {job.base_name} is not the one that the job was created for.",
                "model",
            )
        keys = self._examples_keys(session, job)
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
        )

    @staticmethod
    def _examples_keys(session: Any, job: Job) -> tuple[str, str | None] | Refusal:
        keys: list[str | None] = []
        for file_id, param in (
            (job.training_file, "training_file"),
            (job.validation_file, "validation_file"),
        ):
            if file_id is None:
                keys.append(None)
                continue
            file = session.scalars(select(File).where(File.id == file_id)).one()
            if file.deleted_at is not None or file.examples_key is None:
                return Refusal(
                    "file_deleted",
                    f"The file {file_id} (`{param}`) was deleted before the job ran.",
                    param,
                )
            keys.append(file.examples_key)
        assert keys[0] is not None
        return keys[0], keys[1]

    def _finish_preparations(self) -> None:
        for job_id, preparing in list(self._preparing.items()):
            done, _ = ray.wait([preparing.ref], timeout=0)
            if not done:
                continue
            try:
                result: Preparation | Refusal = ray.get(preparing.ref)
            except RayError as error:
                # The process died, or storage did not answer: it is claimed again.
                log.warning("preparation failed", job_id=job_id, why=str(error))
                del self._preparing[job_id]
                with self._database.transaction() as session:
                    queue.release(session, preparing.lease)
                self._stopping.wait(0.5)
                continue
            self._applied(job_id, functools.partial(self._prepared, preparing.lease, result))
            self._preparing.pop(job_id, None)

    @staticmethod
    def _prepared(lease: Lease, result: Preparation | Refusal, session: Any) -> None:
        if isinstance(result, Refusal):
            progress.fail(session, lease, result.code, result.message, result.param)
            return
        progress.prepared(
            session,
            lease,
            progress.Prepared(
                hyperparameters=result.hyperparameters,
                recipe=result.recipe,
                total_steps=result.total_steps,
                notes=result.notes,
                warnings=result.warnings,
            ),
        )

    # Cohorts

    def _start_cohorts(self) -> None:
        """A cohort for every base that a job waits for, early enough to load beside validation."""
        waiting = (JobStatus.VALIDATING_FILES, JobStatus.QUEUED)
        with self._database.reading() as session:
            names = session.scalars(
                select(Job.base_name).where(Job.status.in_(waiting)).distinct()
            ).all()
            needed = [base for name in names if (base := bases.find_base(session, name))]
        for base in needed:
            running = self._cohorts.get(base.name)
            if running is not None and running.settings.base_digest != base.digest:
                if not running.jobs:
                    self._end_cohort(running)
                continue
            if running is None:
                self._cohorts[base.name] = RunningCohort.start(
                    base.name,
                    CohortSettings(
                        base_directory=base.source,
                        base_digest=base.digest,
                        context_length=base.context_length,
                        device=self._settings.device,
                        threads=self._settings.trainer_threads,
                        storage_url=self._settings.storage_url,
                        checkpoint_every_steps=self._settings.checkpoint_every_steps,
                    ),
                    gpus=self._gpus(),
                )

    def _gpus(self) -> float:
        if self._settings.device == "cpu":
            return 0.0
        if self._settings.device == "cuda":
            return 1.0
        return 1.0 if ray.cluster_resources().get("GPU", 0) > 0 else 0.0

    def _end_cohort(self, cohort: RunningCohort) -> None:
        self._cohorts.pop(cohort.base_name, None)
        cohort.kill()

    def _release_idle_cohorts(self) -> None:
        for cohort in list(self._cohorts.values()):
            since = cohort.idle_since
            if since is None or cohort.jobs:
                continue
            if time.monotonic() - since > self._settings.cohort_idle_seconds:
                log.info("idle cohort released", base=cohort.base_name)
                self._end_cohort(cohort)

    def _start_training(self) -> None:
        for cohort in list(self._cohorts.values()):
            try:
                if not cohort.check_ready():
                    self._note_waiting(cohort)
                    continue
            except CohortLost as error:
                log.warning("cohort lost", base=cohort.base_name, why=str(error))
                self._end_cohort(cohort)
                continue
            except CohortUnusable as error:
                self._end_cohort(cohort)
                self._fail_waiting(cohort, str(error))
                continue
            while len(cohort.jobs) < self._settings.slots_per_cohort and self._train_next(cohort):
                pass

    def _train_next(self, cohort: RunningCohort) -> bool:
        with self._database.transaction() as session:
            lease = queue.claim(
                session,
                self._owner,
                self._settings.lease_seconds,
                status=JobStatus.QUEUED,
                bases=[cohort.base_name],
            )
            if lease is None:
                return False
            job = queue.leased_job(session, lease)
            keys = self._examples_keys(session, job)
            if isinstance(keys, Refusal):
                progress.fail(session, lease, keys.code, keys.message, keys.param)
                return True
            if job.base_digest != cohort.settings.base_digest:
                progress.fail(
                    session,
                    lease,
                    "base_changed",
                    f"The base {job.base_name} is not the one that the job was created for.",
                )
                return True
            again = f" from step {job.resume_step}" if job.resume_key else ""
            queue.begin(session, lease, f"Fine-tuning job started{again}")
            work = TrainingWork(
                job_id=job.id,
                training_key=keys[0],
                validation_key=keys[1],
                recipe=dict(job.recipe or {}),
                seed=job.seed,
                parent_digest=job.parent_digest,
                resume_key=job.resume_key,
                state_prefix=f"jobs/{job.id}/states/{lease.token}",
            )
        self._training[lease.job_id] = _Training(lease, cohort)
        cohort.join(work)
        return True

    def _note_waiting(self, cohort: RunningCohort) -> None:
        """Tell jobs that wait for a worker what they wait for, once."""
        if time.monotonic() - cohort.started_at < _WAITING_NOTE_SECONDS:
            return
        with self._database.transaction() as session:
            for job in session.scalars(
                select(Job).where(Job.status == JobStatus.QUEUED, Job.base_name == cohort.base_name)
            ):
                if job.id in self._noted_waiting:
                    continue
                self._noted_waiting.add(job.id)
                what = "a GPU worker" if self._gpus() else "a worker"
                add_event(
                    session,
                    job.id,
                    f"Waiting for {what} to hold the base {cohort.base_name}; training starts as"
                    " soon as Ray has one.",
                )

    def _fail_waiting(self, cohort: RunningCohort, reason: str) -> None:
        """Fail the jobs that only this cohort could have trained."""
        while True:
            with self._database.transaction() as session:
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

    # Updates

    def _take_updates(self) -> None:
        for cohort in list(self._cohorts.values()):
            if not cohort.ready:
                continue
            try:
                updates = cohort.updates()
            except CohortLost as error:
                self._cohort_lost(cohort, str(error))
                continue
            self._apply(cohort, updates)

    def _apply(self, cohort: RunningCohort, updates: list[Update]) -> None:
        steps: dict[str, list[Stepped]] = {}
        for update in updates:
            if isinstance(update, Stepped):
                steps.setdefault(update.job_id, []).append(update)
                continue
            self._flush(steps, update.job_id)
            self._apply_one(cohort, update)
        for job_id in list(steps):
            self._flush(steps, job_id)

    def _flush(self, steps: dict[str, list[Stepped]], job_id: str) -> None:
        """Write a job's steps in one transaction."""
        pending = steps.pop(job_id, None)
        training = self._training.get(job_id)
        if not pending or training is None:
            return
        finish = time.time() + pending[-1].remaining_seconds
        metrics = [StepMetrics(**step.metrics) for step in pending]
        self._applied(
            job_id,
            lambda s: progress.record_metrics(s, training.lease, metrics, estimated_finish=finish),
        )

    def _apply_one(self, cohort: RunningCohort, update: Update) -> None:
        training = self._training.get(update.job_id)
        if training is None or training.cohort is not cohort:
            return
        lease = training.lease
        match update:
            case Joined():
                log.info("job joined", job_id=update.job_id, step=update.step)
            case StateStored():
                self._state_stored(training, update)
            case EpochStored():
                self._epoch_stored(lease, update)
            case Finished():
                cohort.gone(update.job_id)
                training.publishing = self._slow.submit(self._publisher.publish, lease, update)
            case Failed():
                cohort.gone(update.job_id)
                self._applied(
                    update.job_id,
                    lambda s: progress.fail(s, lease, update.code, update.message),
                )
                self._training.pop(update.job_id, None)
                self._later(self._clear_states, update.job_id)

    def _state_stored(self, training: _Training, update: StateStored) -> None:
        replaced: list[str | None] = []

        def write(session: Any) -> None:
            replaced.append(progress.record_state(session, training.lease, update.key, update.step))
            if update.left:
                queue.release(session, training.lease)

        self._applied(update.job_id, write)
        for key in replaced:
            if key is not None:
                self._later(self._storage.delete, key)
        if update.left:
            training.cohort.gone(update.job_id)
            self._training.pop(update.job_id, None)

    def _epoch_stored(self, lease: Lease, update: EpochStored) -> None:
        orphans: list[str] = []

        def write(session: Any) -> None:
            job = queue.leased_job(session, lease)
            if not adapters.hold_stored(session, self._storage, update.adapter.digest):
                return  # deleted with an equal model meanwhile; the next epoch has its own
            tenant = session.scalars(select(Tenant).where(Tenant.id == job.tenant_id)).one()
            orphans.extend(
                progress.record_checkpoint(
                    session,
                    lease,
                    StoredAdapter(update.adapter.digest, update.adapter.rank, update.adapter.bytes),
                    model_name=tuned_model_name(job.base_name, tenant.slug, job.suffix, job.id),
                    step=update.step,
                    metrics=update.metrics,
                )
            )

        self._applied(update.job_id, write)
        if orphans:
            self._later(adapters.delete_unreferred, self._database, self._storage, orphans)

    def _finish_publishing(self) -> None:
        for job_id, training in list(self._training.items()):
            if training.publishing is None or not training.publishing.done():
                continue
            try:
                training.publishing.result()
            except LeaseLost:
                pass  # cancelled, paused or taken over while it was proved
            except TunesmithError as error:
                log.warning("publishing is tried again", job_id=job_id, why=error.message)
                self._requeue(training, f"Publishing was interrupted ({error.message})")
                continue
            self._training.pop(job_id)
            with self._database.transaction() as session:
                queue.release(session, training.lease)
            self._later(self._clear_states, job_id)

    def _clear_states(self, job_id: str) -> None:
        """Delete the states of a job that has ended."""
        with self._database.reading() as session:
            status = session.scalars(select(Job.status).where(Job.id == job_id)).one_or_none()
        if status in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED):
            self._storage.delete_tree(f"jobs/{job_id}/states")

    def _sweep(self) -> None:
        if time.monotonic() - self._swept_at > _SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._later(sweep, self._database, self._storage)

    # Losses

    def _cohort_lost(self, cohort: RunningCohort, reason: str) -> None:
        log.warning("cohort lost", base=cohort.base_name, why=reason, jobs=len(cohort.jobs))
        self._end_cohort(cohort)
        for training in list(self._training.values()):
            if training.cohort is cohort and training.publishing is None:
                self._requeue(training, "The trainer's process was lost")

    def _requeue(self, training: _Training, reason: str, *, counts: bool = True) -> None:
        attempts = self._settings.max_attempts if counts else None
        job_id = training.lease.job_id
        self._training.pop(job_id, None)
        self._applied(
            job_id,
            lambda s: queue.requeue(s, training.lease, reason, max_attempts=attempts),
        )

    def _applied(self, job_id: str, write: Callable[[Any], object]) -> None:
        """Write under the job's lease; a job that is no longer ours is forgotten.

        A database that does not answer is waited for: what happened must not be lost while this
        process lives, and the lease decides whether it still counts afterwards.
        """
        while True:
            try:
                with self._database.transaction() as session:
                    write(session)
            except LeaseLost:
                self._forget(job_id)
            except Unavailable as error:
                log.warning("database is waited for", job_id=job_id, why=error.message)
                if not self._stopping.wait(1.0):
                    continue
            except TunesmithError as error:
                # The job's state does not take this report; whoever claims it next decides.
                log.warning("report refused", job_id=job_id, why=error.message)
                self._forget(job_id)
            return

    def _later(self, action: Callable[..., object], *arguments: Any) -> None:
        """Do something slow beside the loop; what it cannot do is said and left."""

        def attempt() -> None:
            try:
                action(*arguments)
            except TunesmithError as error:
                log.warning("left undone", action=action.__name__, why=error.message)

        self._slow.submit(attempt)

    def _wind_down(self) -> None:
        """Store what trains, so that the next dispatcher goes on from this very step."""
        for cohort in list(self._cohorts.values()):
            self._apply(cohort, cohort.stop())
        with self._database.transaction() as session:
            for preparing in self._preparing.values():
                queue.release(session, preparing.lease)
        for training in list(self._training.values()):
            self._requeue(training, "The dispatcher was stopped", counts=False)
        self._slow.shutdown(wait=False, cancel_futures=True)
