"""The evaluator's loop: claims kept, evaluations and data reports done, results written.

It needs the database, storage and the engines; no GPU and no Ray. Any number of evaluators can run:
what one works on it holds under a lease, and another takes it up when the lease has run out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from tunesmith.platform import claims, heartbeats
from tunesmith.platform.claims import Claim
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import DataReport, Evaluation
from tunesmith.platform.domain.errors import LeaseLost, TunesmithError
from tunesmith.platform.evaluations import results
from tunesmith.platform.metrics.database import watch_database
from tunesmith.platform.metrics.process import describe_process
from tunesmith.platform.metrics.storage import watch_storage
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.tracing import Tracing
from tunesmith.workers.evaluator.comparing import Comparing, EvaluationImpossible
from tunesmith.workers.evaluator.metrics import EvaluatorMetrics, Outcome
from tunesmith.workers.evaluator.reporting import ReportImpossible, Reporting
from tunesmith.workers.status_server import ProcessStatus

log = structlog.get_logger()

_PASS_SECONDS = 0.2
_RETRY_SECONDS = 15.0
_EVALUATIONS_AT_ONCE = 2
_REPORTS_AT_ONCE = 1
"""A report of a large file takes a core and a gigabyte."""

Table = type[Evaluation] | type[DataReport]


@dataclass
class _Task:
    table: Table
    claim: Claim
    given_up: threading.Event = field(default_factory=threading.Event)
    future: Future[None] | None = None


class Evaluator:
    """Takes evaluations and data reports from the database and writes down what comes of them.

    Attributes:
        stopping: set when the loop is to end; safe in a signal handler.
        status: what it waits for; whoever runs the evaluator serves it.
        registry: what Prometheus may see, for the same.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        *,
        status: ProcessStatus | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._metrics = EvaluatorMetrics(database)
        self._comparing = Comparing(
            settings,
            database,
            storage,
            tracing=tracing,
            judge_failed=self._metrics.judge_failed,
        )
        self._reporting = Reporting(settings, database, storage)
        self._tasks: list[_Task] = []
        self._threads = ThreadPoolExecutor(_EVALUATIONS_AT_ONCE + _REPORTS_AT_ONCE, "evaluate")
        self._renewed_at = 0.0
        self.stopping = threading.Event()
        self.status = status or ProcessStatus()
        self.registry = self._metrics.registry
        describe_process(self.registry, "evaluator")
        watch_database(self.registry, database)
        watch_storage(self.registry, storage)

    def run(self) -> None:
        """Work until `stopping` is set; then what is in hand is given back."""
        while not self.stopping.is_set():
            self.status.turned()
            try:
                self._keep_claims()
                self._finish()
                self._take_up(Evaluation, _EVALUATIONS_AT_ONCE, self._comparing.run)
                self._take_up(DataReport, _REPORTS_AT_ONCE, self._reporting.run)
            except TunesmithError as error:
                self.status.waits_for("database", error.message)
                log.warning("evaluator waits", why=error.message)
                self.stopping.wait(1.0)
            else:
                self.status.has("database")
            self.stopping.wait(_PASS_SECONDS)
        with self.status.resting("stop", "The evaluator is stopping."):
            self._end()

    def _end(self) -> None:
        for task in self._tasks:
            task.given_up.set()
        self._threads.shutdown(wait=True)
        for task in self._tasks:
            self._give_back(task)

    def _keep_claims(self) -> None:
        seconds = self._settings.lease_seconds
        if time.monotonic() - self._renewed_at < seconds / 3:
            return
        with self._database.transaction() as session:
            heartbeats.beat(session, "evaluator")
            held: set[Claim] = set()
            tables: tuple[Table, ...] = (Evaluation, DataReport)
            for table in tables:
                mine = [task.claim for task in self._tasks if task.table is table]
                held |= claims.renew(session, table, mine, seconds)
        self._renewed_at = time.monotonic()
        for task in self._tasks:
            if task.claim not in held:  # canceled, or taken over
                task.given_up.set()

    def _finish(self) -> None:
        for task in list(self._tasks):
            if task.future is not None and task.future.done():
                self._tasks.remove(task)
                task.future.result()

    def _take_up(
        self, table: Table, most: int, work: Callable[[Claim, threading.Event], None]
    ) -> None:
        while sum(task.table is table for task in self._tasks) < most:
            with self._database.transaction() as session:
                found = claims.claim(
                    session,
                    table,
                    self._settings.lease_seconds,
                    max_attempts=self._settings.max_attempts,
                )
            if found is None:
                return
            task = _Task(table, found[0])
            self._tasks.append(task)
            task.future = self._threads.submit(self._do, task, work)

    def _do(self, task: _Task, work: Callable[[Claim, threading.Event], None]) -> None:
        """Do a task; what went wrong is written down, or left for another try."""
        name = task.table.__tablename__
        began = time.monotonic()
        outcome: Outcome = "given_up"
        try:
            work(task.claim, task.given_up)
        except LeaseLost as error:
            log.info("not written", table=name, why=error.message)
        except (EvaluationImpossible, ReportImpossible) as error:
            self._fail(task, error.code, str(error))
            outcome = "failed"
        except TunesmithError as error:  # database, storage or engines are away: tried again
            log.warning("tried again", table=name, why=error.message)
            self._give_back(task, after=_RETRY_SECONDS)
            outcome = "retried"
        except Exception as error:
            log.exception("evaluator's own mistake", table=name)
            self._fail(task, "internal_error", f"{type(error).__name__}: see the evaluator's log.")
            outcome = "failed"
        else:
            if task.given_up.is_set():
                self._give_back(task)
            else:
                outcome = "done"
        self._metrics.ended(name, outcome, time.monotonic() - began)

    def _fail(self, task: _Task, code: str, message: str) -> None:
        try:
            with self._database.transaction() as session:
                if task.table is Evaluation:
                    results.fail(session, task.claim, code, message)
                else:
                    row = claims.held(session, DataReport, task.claim)
                    claims.end(session, row, claims.FAILED, {"code": code, "message": message})
        except TunesmithError as error:  # its lease runs out, and it is taken up again
            log.warning("not written", table=task.table.__tablename__, why=error.message)

    def _give_back(self, task: _Task, *, after: float = 0.0) -> None:
        try:
            with self._database.transaction() as session:
                claims.give_back(session, task.table, task.claim, after=after)
        except TunesmithError as error:  # its lease runs out, and it is taken up again
            log.warning("not given back", table=task.table.__tablename__, why=error.message)
