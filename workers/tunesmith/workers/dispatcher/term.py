"""What a dispatcher does while it leads: leases kept, files read, jobs trained, results written."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases, heartbeats
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import queue
from tunesmith.platform.jobs.queue import Lease
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.workers.bases import default_name
from tunesmith.workers.dispatcher.cohort_pool import CohortPool
from tunesmith.workers.dispatcher.cohorts import RunningCohort
from tunesmith.workers.dispatcher.job_traces import JobTraces
from tunesmith.workers.dispatcher.metrics import TrainingMetrics
from tunesmith.workers.dispatcher.preparations import Preparations
from tunesmith.workers.dispatcher.publishing import Publisher
from tunesmith.workers.dispatcher.ray_cluster import RayCluster, RayUnavailable, first_line
from tunesmith.workers.dispatcher.reports import Reports
from tunesmith.workers.dispatcher.sweeping import sweep
from tunesmith.workers.dispatcher.trainings import Trainings
from tunesmith.workers.dispatcher.waiting import Lookout
from tunesmith.workers.tracking.tracking import Tracking

log = structlog.get_logger()

_PUBLISH_WAIT_SECONDS = 600.0
_SWEEP_SECONDS = 60.0


class Term:
    """From the moment a dispatcher leads and has joined Ray to the moment it does not any more.

    Every job in hand is held under a lease that is renewed when a third of it is over. What fails
    for one job is that job's; a database or storage that does not answer is tried again.

    Args:
        succeeds_lost: the leader before was lost: what it held is taken up at once.
        leads: asked before each thing that is done.
        while_waiting: called again and again while the database is waited for.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        ray: RayCluster,
        *,
        metrics: TrainingMetrics,
        tracking: Tracking,
        traces: JobTraces,
        succeeds_lost: bool,
        leads: Callable[[], bool],
        while_waiting: Callable[[], None],
    ) -> None:
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self._settings = settings
        self._database = database
        self._ray = ray
        self._leads = leads
        self._reports = Reports(database, storage, while_waiting)
        self._cohorts = CohortPool(settings, self._reports, ray, owner)
        self._preparations = Preparations(settings, self._reports, ray, owner, traces)
        publisher = Publisher(
            database,
            storage,
            settings.engines,
            authorities=settings.engine_ca_file,
            wait_seconds=_PUBLISH_WAIT_SECONDS,
            stopping=self._reports.stopping.is_set,
        )
        self._trainings = Trainings(
            settings,
            self._reports,
            self._cohorts,
            publisher,
            owner,
            metrics=metrics,
            tracking=tracking,
            traces=traces,
        )
        self._lookout = Lookout()
        self._succeeds_lost = succeeds_lost
        self._warm = not settings.prewarm
        self._renewed_at = float("-inf")
        self._swept_at = time.monotonic()

    @property
    def cohorts(self) -> Iterable[RunningCohort]:
        """Those that were asked for."""
        return self._cohorts

    def interrupt(self) -> None:
        """Have what waits within a turn end soon; safe in a signal handler."""
        self._reports.stopping.set()

    def turn(self) -> None:
        """Do everything that is due.

        Raises:
            RayUnavailable: the connection to Ray is lost.
        """
        for part in (
            self._warm_up,
            self._keep_leases,
            self._preparations.finish,
            self._take_up_what_waits,
            self._trainings.take_updates,
            self._trainings.finish,
            self._tell_who_waits,
            self._cohorts.release_idle,
            self._sweep,
        ):
            if not self._leads():
                return
            try:
                part()
            except RayUnavailable:
                raise
            except TunesmithError as error:
                log.warning("dispatcher waits", part=part.__name__, why=error.message)
                self._reports.stopping.wait(1.0)
            except Exception as error:
                if not self._ray.is_lost(error):
                    raise
                why = first_line(error)
                raise RayUnavailable(f"The connection to Ray was lost: {why}.") from error
        self._ray.check()

    def stop(self) -> None:
        """End in order: states are stored, leases given back and jobs requeued."""
        self.interrupt()
        self._trainings.stop()
        for cohort in self._cohorts:
            self._cohorts.forget(cohort)
        self._preparations.stop()
        self._reports.close()

    def give_back(self, reason: str) -> None:
        """End without Ray: its cluster is gone, and what trained there with it."""
        self._trainings.requeue_all(reason)
        for cohort in self._cohorts:
            self._cohorts.forget(cohort)
        self._preparations.stop()
        self.interrupt()
        self._reports.close()

    def let_go(self) -> None:
        """End because another dispatcher leads: nothing is written, and GPUs are given back."""
        self.interrupt()
        self._preparations.let_go()
        self._trainings.let_go()
        for cohort in self._cohorts:
            self._cohorts.end(cohort)
        self._reports.close()

    def _warm_up(self) -> None:
        """Load the base of the settings, and what reading files needs, before a job comes."""
        if self._warm:
            return
        name = self._settings.base_name or default_name(self._settings.base)
        with self._database.reading() as session:
            base = bases.find_base(session, name)
        if base is not None:
            self._cohorts.start_for([base])
        self._preparations.warm_up()
        self._warm = True

    def _keep_leases(self) -> None:
        """Renew what is due, take back what others abandoned, and see what clients did."""
        leases = self._preparations.leases + self._trainings.leases
        seconds = self._settings.lease_seconds
        if time.monotonic() - self._renewed_at > seconds / 3:
            with self._database.transaction() as session:
                heartbeats.beat(session, "dispatcher")
                if self._succeeds_lost:
                    queue.expire_leases(session)
                held = queue.renew(session, leases, seconds)
                queue.requeue_abandoned(session, max_attempts=self._settings.max_attempts)
                paused = _paused(session, leases)
            self._succeeds_lost = False
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
            waiting = self._lookout.look(session)
        if waiting.bases:
            self._cohorts.start_for(waiting.bases)
        if waiting.unread:
            self._preparations.start()
        self._trainings.start(queued=waiting.queued)

    def _tell_who_waits(self) -> None:
        self._preparations.tell_who_waits()
        self._cohorts.tell_who_waits()

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
