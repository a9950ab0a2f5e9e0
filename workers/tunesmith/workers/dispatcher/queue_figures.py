"""What the database says of jobs: those to be done, how long they wait, how those ended.

Several dispatchers report the same: take the `max`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.platform.database import Database
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import BaseModel, Job
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.job import CLAIMABLE, FINAL, JobStatus
from tunesmith.platform.jobs.counting import EndedJobs

log = structlog.get_logger()

_UNFINISHED = tuple(status for status in JobStatus if status not in FINAL)
_WAITING = tuple(status for status in JobStatus if status in CLAIMABLE)

PLATFORM_CODES = frozenset(
    {
        "adapter_not_served",
        "adapter_without_effect",
        "base_changed",
        "base_unusable",
        "internal_error",
        "out_of_memory",
        "rendering_differs",
        "storage_full",
        "storage_unavailable",
        "worker_lost",
    }
)
"""Codes of failures that are the operator's to mend; all others are about a job's own data."""

OUTCOMES = ("succeeded", "cancelled", "failed_by_tenant", "failed_by_platform")


class JobFigures:
    """Collects the figures of jobs; of those that ended, only what is new is looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended = EndedJobs(Job.base_name, Job.status, Job.error["code"].as_string())

    def __call__(self) -> Iterable[Metric]:
        """The figures; none when the database is down."""
        try:
            with self._database.reading() as session:
                bases = session.scalars(select(BaseModel.name).order_by(BaseModel.name)).all()
                return [
                    *_unfinished(session, bases),
                    _waiting(session, bases),
                    *_outcomes(self._ended.count(session), bases),
                ]
        except TunesmithError as error:
            log.warning("no figures of the database", why=error.message)
            return []


def _unfinished(session: Session, bases: Iterable[str]) -> Iterable[Metric]:
    jobs = GaugeMetricFamily(
        "tunesmith_unfinished_jobs", "Fine-tuning jobs to be done.", labels=["base", "status"]
    )
    rows = session.execute(
        select(Job.base_name, Job.status, func.count())
        .where(Job.status.in_(_UNFINISHED))
        .group_by(Job.base_name, Job.status)
    )
    counts = {(base, status): count for base, status, count in rows}
    for base in bases:
        for status in _UNFINISHED:  # a status that empties must say 0, not go away
            jobs.add_metric([base, status.value], counts.get((base, status.value), 0))
    return [jobs]


def _waiting(session: Session, bases: Iterable[str]) -> Metric:
    """By the time of their creation: one that was begun before has had its turn."""
    oldest = GaugeMetricFamily(
        "tunesmith_oldest_waiting_job_seconds",
        "Age of the oldest job that waits and was never begun; 0 where none does.",
        labels=["base", "status"],
    )
    moment = now(session)
    rows = session.execute(
        select(Job.base_name, Job.status, func.min(Job.created_at))
        .where(Job.status.in_(_WAITING), Job.started_at.is_(None))
        .group_by(Job.base_name, Job.status)
    )
    since = {(base, status): created_at for base, status, created_at in rows}
    for base in bases:
        for status in _WAITING:
            age = moment - since.get((base, status.value), moment)
            oldest.add_metric([base, status.value], max(0.0, age))
    return oldest


def _outcomes(ended: Counter[tuple[str, ...]], bases: Iterable[str]) -> Iterable[Metric]:
    failures = CounterMetricFamily(
        "tunesmith_job_failures", "Fine-tuning jobs that failed.", labels=["base", "code"]
    )
    outcomes = CounterMetricFamily(
        "tunesmith_job_outcomes",
        "Fine-tuning jobs that ended; failed by their tenant's data, or by the platform.",
        labels=["base", "outcome"],
    )
    counts = Counter({(base, outcome): 0 for base in bases for outcome in OUTCOMES})
    for (base, status, code), count in ended.items():
        outcome = status
        if status == JobStatus.FAILED:
            failures.add_metric([base, code or "unknown"], count)
            outcome = "failed_by_platform" if code in PLATFORM_CODES else "failed_by_tenant"
        counts[base, outcome] += count
    for labels, count in counts.items():
        outcomes.add_metric(labels, count)
    return [failures, outcomes]
