"""The dispatcher's loop: leases kept, files read, jobs trained, results written."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases, heartbeats
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import BaseModel, Job
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.job import CLAIMABLE, JobStatus
from tunesmith.platform.jobs import queue
from tunesmith.platform.jobs.queue import Lease
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.workers.bases import default_name
from tunesmith.workers.dispatcher.cohort_pool import CohortPool
from tunesmith.workers.dispatcher.metrics import TrainingMetrics, of_cohorts, of_jobs
from tunesmith.workers.dispatcher.preparations import Preparations
from tunesmith.workers.dispatcher.publishing import Publisher
from tunesmith.workers.dispatcher.reports import Reports
from tunesmith.workers.dispatcher.sweeping import sweep
from tunesmith.workers.dispatcher.trainings import Trainings
from tunesmith.workers.tracking.tracker import Tracker
from tunesmith.workers.tracking.tracking import Tracking

log = structlog.get_logger()

_PASS_SECONDS = 0.1
_PUBLISH_WAIT_SECONDS = 600.0
_SWEEP_SECONDS = 60.0
_TRACKING_WAIT_SECONDS = 2.0


class Dispatcher:
    """Takes jobs from the database to cohorts and writes down what comes back.

    Every job in hand is held under a lease that is renewed when a third of it is over. What fails
    for one job is that job's; a database or storage that does not answer is tried again.

    Attributes:
        metrics: what Prometheus may see; whoever runs the dispatcher serves them.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self._settings = settings
        self._database = database
        self._reports = Reports(database, storage)
        self._cohorts = CohortPool(settings, self._reports, owner)
        self._preparations = Preparations(settings, self._reports, owner)
        publisher = Publisher(
            database,
            storage,
            settings.engines,
            wait_seconds=_PUBLISH_WAIT_SECONDS,
            stopping=self._reports.stopping.is_set,
        )
        self.metrics = TrainingMetrics()
        self.metrics.collect_from(lambda: of_cohorts(self._cohorts, settings.slots_per_cohort))
        self.metrics.collect_from(lambda: of_jobs(database))
        self._tracking = Tracking(trackers)
        self._trainings = Trainings(
            settings,
            self._reports,
            self._cohorts,
            publisher,
            owner,
            metrics=self.metrics,
            tracking=self._tracking,
        )
        self._renewed_at = 0.0
        self._swept_at = time.monotonic()

    def stop(self) -> None:
        """End the loop soon; safe in a signal handler."""
        self._reports.stopping.set()

    def run(self) -> None:
        """Work until `stop`; then states are stored, leases given back and jobs requeued."""
        stopping = self._reports.stopping
        if self._settings.prewarm:
            self._warm_up()
        while not stopping.is_set():
            for part in (
                self._keep_leases,
                self._preparations.finish,
                self._take_up_what_waits,
                self._trainings.take_updates,
                self._trainings.finish,
                self._cohorts.release_idle,
                self._sweep,
            ):
                try:
                    part()
                except TunesmithError as error:
                    log.warning("dispatcher waits", part=part.__name__, why=error.message)
                    stopping.wait(1.0)
            stopping.wait(_PASS_SECONDS)
        self._trainings.stop()
        self._tracking.close(within=_TRACKING_WAIT_SECONDS)
        self._preparations.stop()
        self._reports.close()

    def _warm_up(self) -> None:
        """Load the base of the settings, and what reading files needs, before a job comes."""
        name = self._settings.base_name or default_name(self._settings.base)
        with self._database.reading() as session:
            base = bases.find_base(session, name)
        if base is not None:
            self._cohorts.start_for([base])
        self._preparations.warm_up()

    def _keep_leases(self) -> None:
        """Renew what is due, take back what others abandoned, and see what clients did."""
        leases = self._preparations.leases + self._trainings.leases
        seconds = self._settings.lease_seconds
        if time.monotonic() - self._renewed_at > seconds / 3:
            with self._database.transaction() as session:
                heartbeats.beat(session, "dispatcher")
                held = queue.renew(session, leases, seconds)
                queue.requeue_abandoned(session, max_attempts=self._settings.max_attempts)
                paused = _paused(session, leases)
            self._renewed_at = time.monotonic()
        elif leases:
            with self._database.reading() as session:
                held, paused = _held(session, leases), _paused(session, leases)
        else:
            return
        for lease in leases:
            if lease.job_id not in held:
                self._preparations.forget(lease.job_id)
                self._trainings.forget(lease.job_id)
        for job_id in paused:
            self._trainings.pause(job_id)

    def _take_up_what_waits(self) -> None:
        """Claim jobs, and have their bases loaded while their files are still being read."""
        with self._database.reading() as session:
            statuses, needed = _waiting(session)
        if needed:
            self._cohorts.start_for(needed)
        if JobStatus.VALIDATING_FILES in statuses:
            self._preparations.start()
        self._trainings.start(queued=JobStatus.QUEUED in statuses)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept_at > _SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._reports.later(sweep, self._database, self._reports.storage)


def _held(session: Session, leases: Sequence[Lease]) -> set[str]:
    """Jobs that are still held under these leases."""
    tokens = {lease.job_id: lease.token for lease in leases}
    rows = session.execute(select(Job.id, Job.lease_token).where(Job.id.in_(tokens)))
    return {job_id for job_id, token in rows if tokens[job_id] == token}


def _paused(session: Session, leases: Sequence[Lease]) -> set[str]:
    ids = [lease.job_id for lease in leases]
    query = select(Job.id).where(Job.id.in_(ids), Job.status == JobStatus.PAUSED)
    return set(session.scalars(query))


def _waiting(session: Session) -> tuple[set[str], list[BaseModel]]:
    """Statuses in which jobs wait, and the bases that they wait for."""
    query = select(Job.status, Job.base_name).where(Job.status.in_(CLAIMABLE)).distinct()
    rows = session.execute(query).all()
    names = {row.base_name for row in rows}
    found = [base for name in sorted(names) if (base := bases.find_base(session, name))]
    return {row.status for row in rows}, found
