"""What Prometheus sees of evaluations and data reports: never by tenant or model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from tunesmith.platform import claims
from tunesmith.platform.database import Database
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import DataReport, Evaluation
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.metrics.source import collect_from

log = structlog.get_logger()

_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_TABLES: dict[str, type[Evaluation] | type[DataReport]] = {
    "evaluations": Evaluation,
    "data_reports": DataReport,
}
_UNENDED = (claims.QUEUED, claims.IN_PROGRESS)

Outcome = Literal["done", "failed", "retried", "given_up"]
OUTCOMES: tuple[Outcome, ...] = ("done", "failed", "retried", "given_up")


class EvaluatorMetrics:
    """The figures of one evaluator. Safe to call from several threads."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self._done = Counter(
            "tunesmith_evaluations_done",
            "Evaluations and data reports that this process let go of, by what came of them.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tunesmith_evaluation_seconds",
            "Seconds that an evaluation or a data report took, once it was taken up.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._judge_errors = Counter(
            "tunesmith_judge_errors",
            "Questions that the judge did not answer, or not so that it could be read.",
            registry=self.registry,
        )
        for kind in _TABLES:
            self._seconds.labels(kind)
            for outcome in OUTCOMES:
                self._done.labels(kind, outcome)
        collect_from(self.registry, lambda: _of_database(database))

    def ended(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """Work on an evaluation or a data report (`kind`: its table) is over."""
        self._done.labels(kind, outcome).inc()
        if outcome == "done":
            self._seconds.labels(kind).observe(seconds)

    def judge_failed(self) -> None:
        """The judge gave no answer that can be used."""
        self._judge_errors.inc()


def _of_database(database: Database) -> Iterable[Metric]:
    """What waits, and for how long; nothing when the database is down. Of several, the max."""
    counts = GaugeMetricFamily(
        "tunesmith_evaluations",
        "Evaluations and data reports to be done.",
        labels=["kind", "status"],
    )
    oldest = GaugeMetricFamily(
        "tunesmith_oldest_waiting_evaluation_seconds",
        "Age of the oldest evaluation or data report that waits; 0 where none does.",
        labels=["kind"],
    )
    try:
        with database.reading() as session:
            moment = now(session)
            for kind, table in _TABLES.items():
                rows = session.execute(
                    select(table.status, func.count(), func.min(table.created_at))
                    .where(table.status.in_(_UNENDED))
                    .group_by(table.status)
                ).all()
                found = {status: (count, since) for status, count, since in rows}
                for status in _UNENDED:
                    counts.add_metric([kind, status], found.get(status, (0, 0.0))[0])
                since = found.get(claims.QUEUED, (0, moment))[1]
                oldest.add_metric([kind], max(0.0, moment - since))
    except TunesmithError as error:
        log.warning("no figures of the database", why=error.message)
        return []
    return [counts, oldest]
