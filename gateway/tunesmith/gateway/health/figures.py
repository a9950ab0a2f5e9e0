"""Figures of other parts, collected when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from tunesmith.gateway.engines.breaker import BreakerState
from tunesmith.gateway.engines.engine import EngineStatus
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.platform import heartbeats
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs.counting import JobCounts

log = structlog.get_logger(__name__)


def of_engines(
    pool: EnginePool,
) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
    """Engines by status, and for each: what is in it, what it holds, what it had to pull."""
    statuses = GaugeMetricFamily("tunesmith_engines", "Engines by status.", labels=["status"])
    up, busy, queued, cache, resident, open_ = (
        GaugeMetricFamily(f"tunesmith_engine_{name}", text, labels=["engine"])
        for name, text in (
            ("up", "Whether an engine is up."),
            ("requests_in_flight", "Requests in an engine now."),
            ("requests_waiting", "Requests that wait in an engine, as it reports."),
            ("kv_cache_usage", "Share of an engine's KV cache in use, as it reports."),
            ("adapters", "Adapters that an engine is taken to hold."),
            ("breaker_open", "Whether an engine gets no requests because it failed many."),
        )
    )
    loads, drops = (
        CounterMetricFamily(f"tunesmith_engine_adapter_{name}", text, labels=["engine"])
        for name, text in (
            ("loads", "Adapters that an engine had to pull."),
            ("drops", "Adapters that an engine was told to drop, to make room."),
        )
    )
    engines = list(pool.engines)
    counts = Counter("draining" if e.is_up and e.leaving else e.status.value for e in engines)
    for status in (*EngineStatus, "draining"):
        statuses.add_metric([str(status)], counts[str(status)])
    for engine in engines:
        labels = [engine.url]
        up.add_metric(labels, float(engine.is_up))
        busy.add_metric(labels, engine.in_flight)
        resident.add_metric(labels, len(engine.adapters))
        open_.add_metric(labels, float(engine.breaker.state is not BreakerState.CLOSED))
        loads.add_metric(labels, engine.loads)
        drops.add_metric(labels, engine.drops)
        if engine.load is not None:
            queued.add_metric(labels, engine.load.waiting)
            cache.add_metric(labels, engine.load.kv_usage)
    return [statuses, up, busy, queued, cache, resident, open_, loads, drops]


def of_database(database: Database, counting: JobCounts) -> Iterable[GaugeMetricFamily]:
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
            counts = counting.count(session)
            silent = {name: heartbeats.age(session, name) for name in silences}
    except TunesmithError as error:
        log.warning("no figures of the database", error=error.message)
        up.add_metric([], 0.0)
        return [up]
    up.add_metric([], 1.0)
    for status in JobStatus:
        jobs.add_metric([status.value], counts[status.value])
    for name, seconds in silent.items():
        if seconds is not None:
            silences[name].add_metric([], seconds)
    return [up, jobs, *silences.values()]
