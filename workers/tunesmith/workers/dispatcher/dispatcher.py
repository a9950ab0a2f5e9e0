"""The dispatcher's loop: it leads or stands by, joins Ray, and then does a term's work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from tunesmith.platform import process_identity
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.leadership import Leadership
from tunesmith.platform.metrics.database import watch_database
from tunesmith.platform.metrics.process import describe_process
from tunesmith.platform.metrics.storage import watch_storage
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.tracing import Tracing
from tunesmith.workers.dispatcher.job_traces import JobTraces
from tunesmith.workers.dispatcher.metrics import TrainingMetrics, of_cohorts
from tunesmith.workers.dispatcher.queue_figures import JobFigures
from tunesmith.workers.dispatcher.ray_cluster import RayCluster, RayUnavailable
from tunesmith.workers.dispatcher.term import Term
from tunesmith.workers.status_server import ProcessStatus
from tunesmith.workers.tracking.tracker import Tracker
from tunesmith.workers.tracking.tracking import Tracking

log = structlog.get_logger()

_PASS_SECONDS = 0.1
_WAIT_SECONDS = 1.0
"""Between two looks of a standby at the lease, and between two tries at what does not answer."""
_UNSURE_SECONDS = 60.0
"""A leader that cannot reach the database does nothing once its lease is over, but lets its cohorts
train on for so long: a failover of the database then costs no steps. In that time a successor's
cohorts may have to wait for a GPU."""
_TRACKING_WAIT_SECONDS = 2.0
_SAY_AGAIN_SECONDS = 60.0


class Dispatcher:
    """One of several dispatchers: it acts while it leads, and stands by else.

    Attributes:
        metrics: what Prometheus may see; whoever runs the dispatcher serves them.
        status: what it waits for, for the same.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        trackers: Sequence[Tracker] = (),
        *,
        ray: RayCluster | None = None,
        status: ProcessStatus | None = None,
        name: str | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._storage = storage
        self._ray = ray or RayCluster(settings.ray_address or "auto")
        self._name = name or process_identity.own()
        self._leadership = Leadership(
            database, "dispatcher", settings.lease_seconds, holder=self._name
        )
        self._term: Term | None = None
        self._stopping = threading.Event()
        self._said = ("", "", 0.0)
        self._tracking = Tracking(trackers)
        self._traces = JobTraces(tracing)
        self.status = status or ProcessStatus()
        self.metrics = TrainingMetrics()
        self.metrics.collect_from(self._of_leadership)
        self.metrics.collect_from(self._of_cohorts)
        self.metrics.collect_from(JobFigures(database))
        describe_process(self.metrics.registry, "dispatcher")
        watch_database(self.metrics.registry, database)
        watch_storage(self.metrics.registry, storage)

    def stop(self) -> None:
        """End the loop soon; safe in a signal handler."""
        self._stopping.set()
        if self._term is not None:
            self._term.interrupt()

    @property
    def stopping(self) -> threading.Event:
        """Set by `stop`."""
        return self._stopping

    def run(self) -> None:
        """Work until `stop`; then states are stored, jobs requeued, and the lease is given up."""
        try:
            while not self._stopping.is_set():
                self.status.turned()
                self._stopping.wait(self._turn())
            with self.status.resting("stop", "The dispatcher is stopping."):
                self._end()
        finally:
            self._ray.disconnect()

    def _turn(self) -> float:
        """Do what is due; seconds until the next time."""
        leads = self._campaign()
        if not leads:
            return self._stand_by()
        if self._term is None:
            return self._begin()
        try:
            self._term.turn()
        except RayUnavailable as error:
            log.warning("ray is lost; its jobs are put back", why=error.message)
            self.status.waits_for("ray", error.message)
            term, self._term = self._term, None
            term.give_back("The connection to the Ray cluster was lost")
            self._ray.disconnect()
            return _WAIT_SECONDS
        return _PASS_SECONDS

    def _campaign(self) -> bool:
        try:
            leads = self._leadership.campaign()
        except TunesmithError as error:
            self._waits_for("database", error.message)
            self._stopping.wait(_WAIT_SECONDS)
            return self._leadership.leads
        self.status.has("database")
        return leads

    def _stand_by(self) -> float:
        if self._term is not None and (
            not self._leadership.is_unsure or self._leadership.unsure_seconds > _UNSURE_SECONDS
        ):
            log.warning("leads no more; its cohorts are let go")
            term, self._term = self._term, None
            try:
                term.let_go()
            except Exception as error:
                if not self._ray.is_lost(error):
                    raise
                self._ray.disconnect()  # and with it all that it had there
        if self._term is None:
            self.status.has("ray")  # a standby needs none
        return min(_WAIT_SECONDS, self._settings.lease_seconds / 3)

    def _begin(self) -> float:
        if not self._ray.connected:
            try:
                self._ray.connect()
            except RayUnavailable as error:
                self._waits_for("ray", error.message)
                return _WAIT_SECONDS
            self.status.has("ray")
            return 0.0  # that may have taken longer than the lease
        self._term = Term(
            self._settings,
            self._database,
            self._storage,
            self._ray,
            metrics=self.metrics,
            tracking=self._tracking,
            traces=self._traces,
            succeeds_lost=self._leadership.took_over,
            leads=lambda: self._leadership.leads,
            while_waiting=self._while_waiting,
        )
        if self._stopping.is_set():  # the signal came before it could be interrupted
            self._term.interrupt()
        return 0.0

    def _waits_for(self, what: str, why: str) -> None:
        self.status.waits_for(what, why)
        now = time.monotonic()
        if self._said[:2] != (what, why) or now - self._said[2] > _SAY_AGAIN_SECONDS:
            self._said = (what, why, now)
            log.warning("dispatcher waits", part=what, why=why)

    def _while_waiting(self) -> None:
        self.status.turned()
        if self._leadership.unsure_seconds > _UNSURE_SECONDS and self._term is not None:
            self._term.interrupt()

    def _end(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            if self._leadership.leads:
                term.stop()
            else:
                term.let_go()
        self._tracking.close(within=_TRACKING_WAIT_SECONDS)
        try:
            self._leadership.release()
        except TunesmithError as error:
            log.warning("the lease was not given up", why=error.message)

    def _of_leadership(self) -> Iterable[Metric]:
        leader = GaugeMetricFamily(
            "tunesmith_leader",
            "Whether this dispatcher leads; exactly one of them should.",
            labels=["process"],
        )
        leader.add_metric([self._name.rsplit(" ", 2)[0]], float(self._leadership.leads))
        return [leader]

    def _of_cohorts(self) -> Iterable[Metric]:
        term = self._term
        cohorts = term.cohorts if term is not None else ()
        return of_cohorts(cohorts, self._settings.slots_per_cohort)
