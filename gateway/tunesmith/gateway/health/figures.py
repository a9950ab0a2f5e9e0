"""Figures of other parts, collected when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily
from sqlalchemy import func, select

from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.platform import heartbeats
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.job import JobStatus

log = structlog.get_logger(__name__)


def of_engines(pool: EnginePool) -> Iterable[GaugeMetricFamily]:
    """Which engines are up, and how many requests are in each."""
    up = GaugeMetricFamily("tunesmith_engine_up", "Whether an engine is up.", labels=["engine"])
    busy = GaugeMetricFamily(
        "tunesmith_engine_requests_in_flight", "Requests in an engine now.", labels=["engine"]
    )
    for engine in pool.engines:
        up.add_metric([engine.url], float(engine.is_up))
        busy.add_metric([engine.url], engine.in_flight)
    return [up, busy]


def of_database(database: Database) -> Iterable[GaugeMetricFamily]:
    """Jobs by status, the silence of those who work alone; that the database is down, if it is."""
    up = GaugeMetricFamily("tunesmith_database_up", "Whether the database answers.")
    jobs = GaugeMetricFamily("tunesmith_jobs", "Fine-tuning jobs by status.", labels=["status"])
    silences = {
        name: GaugeMetricFamily(
            f"tunesmith_{name}_silence_seconds", f"Seconds since the {name}'s last sign of life."
        )
        for name in ("dispatcher", "evaluator")
    }
    try:
        with database.reading() as session:
            counting = select(Job.status, func.count().label("jobs")).group_by(Job.status)
            rows = session.execute(counting).all()
            counts = {row.status: row.jobs for row in rows}
            silent = {name: heartbeats.age(session, name) for name in silences}
    except TunesmithError as error:
        log.warning("no figures of the database", error=error.message)
        up.add_metric([], 0.0)
        return [up]
    up.add_metric([], 1.0)
    for status in JobStatus:
        jobs.add_metric([status.value], counts.get(status.value, 0))
    for name, seconds in silent.items():
        if seconds is not None:
            silences[name].add_metric([], seconds)
    return [up, jobs, *silences.values()]
