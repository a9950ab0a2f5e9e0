"""Figures of other parts, collected when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.gateway.engines.breaker import BreakerState
from tunesmith.gateway.engines.engine import EngineStatus
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.platform import heartbeats
from tunesmith.platform.batches import status as batch_status
from tunesmith.platform.database import Database
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Batch, Leader, WebhookDelivery
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs.counting import JobCounts
from tunesmith.platform.webhooks import deliveries

_UNENDED_BATCHES = sorted(batch_status.NEXT)

log = structlog.get_logger(__name__)


def of_engines(pool: EnginePool) -> Iterable[Metric]:
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
    loads, load_failures, drops = (
        CounterMetricFamily(f"tunesmith_engine_adapter_{name}", text, labels=["engine"])
        for name, text in (
            ("loads", "Adapters that an engine had to pull."),
            ("load_failures", "Adapters that an engine was told to pull and did not."),
            ("drops", "Adapters that an engine was told to drop, to make room."),
        )
    )
    restarts = CounterMetricFamily(
        "tunesmith_engine_restarts",
        "Times that an engine came back as another process, at the same address.",
        labels=["engine"],
    )
    serving = GaugeMetricFamily(
        "tunesmith_engines_serving", "Engines that take requests for a base.", labels=["base"]
    )
    waiting = GaugeMetricFamily(
        "tunesmith_requests_waiting",
        "Requests that wait in this gateway for an engine, or for a turn at one.",
        labels=["base"],
    )
    engines = list(pool.engines)
    for base in sorted(set(pool.waiting.now).union(*(engine.bases for engine in engines))):
        serving.add_metric([base], len(pool.serving(base)))
        waiting.add_metric([base], pool.waiting.now.get(base, 0))
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
        load_failures.add_metric(labels, engine.load_failures)
        restarts.add_metric(labels, engine.restarts)
        drops.add_metric(labels, engine.drops)
        if engine.load is not None:
            queued.add_metric(labels, engine.load.waiting)
            cache.add_metric(labels, engine.load.kv_usage)
    one_each: list[Metric] = [
        up,
        busy,
        queued,
        cache,
        resident,
        open_,
        loads,
        load_failures,
        drops,
        restarts,
    ]
    return [statuses, serving, waiting, *one_each]


def of_database(
    database: Database,
    counting: JobCounts,
    others: Sequence[Callable[[Session], Iterable[Metric]]] = (),
) -> Iterable[Metric]:
    """What the database says of jobs, batches, webhooks and of those who work alone.

    That it is down, if it is.

    Args:
        others: more that is asked of the same transaction.
    """
    up = GaugeMetricFamily("tunesmith_database_up", "Whether the database answers.")
    found: list[Metric] = [up]
    try:
        with database.reading() as session:
            found += _jobs(session, counting)
            found += _signs_of_life(session)
            found += _batches(session)
            found += _webhooks(session)
            for other in others:
                found += other(session)
    except TunesmithError as error:
        log.warning("no figures of the database", error=error.message)
        up.add_metric([], 0.0)
        return [up]
    up.add_metric([], 1.0)
    return found


def _jobs(session: Session, counting: JobCounts) -> Iterable[Metric]:
    jobs = GaugeMetricFamily("tunesmith_jobs", "Fine-tuning jobs by status.", labels=["status"])
    counts = counting.count(session)
    for status in JobStatus:
        jobs.add_metric([status.value], counts[status.value])
    return [jobs]


def _signs_of_life(session: Session) -> Iterable[Metric]:
    found: list[Metric] = []
    for name in ("dispatcher", "evaluator"):
        silence = GaugeMetricFamily(
            f"tunesmith_{name}_silence_seconds", f"Seconds since the {name}'s last sign of life."
        )
        seconds = heartbeats.age(session, name)
        if seconds is not None:
            silence.add_metric([], seconds)
        found.append(silence)
    lease = GaugeMetricFamily(
        "tunesmith_leader_lease_seconds",
        "Seconds for which the leader's lease still holds; below 0, nobody has led for so long.",
        labels=["name"],
    )
    moment = now(session)
    for name, expires_at in session.execute(select(Leader.name, Leader.expires_at)):
        lease.add_metric([name], expires_at - moment)
    return [*found, lease]


def _batches(session: Session) -> Iterable[Metric]:
    batches = GaugeMetricFamily(
        "tunesmith_batches", "Batches that have not ended, by status.", labels=["status"]
    )
    lines = GaugeMetricFamily(
        "tunesmith_batch_lines",
        "Requests of batches that have not ended: answered, failed, and yet to be asked.",
        labels=["state"],
    )
    rows = session.execute(
        select(
            Batch.status,
            func.count(),
            func.sum(Batch.total),
            func.sum(Batch.completed),
            func.sum(Batch.failed),
        )
        # By the index of leases, which ended batches are not in.
        .where(Batch.lease_expires_at.is_not(None), Batch.status.in_(_UNENDED_BATCHES))
        .group_by(Batch.status)
    ).all()
    counts = {row[0]: row[1] for row in rows}
    for status in _UNENDED_BATCHES:
        batches.add_metric([status], counts.get(status, 0))
    total, completed, failed = (sum(int(row[place] or 0) for row in rows) for place in (2, 3, 4))
    for state, count in (
        ("completed", completed),
        ("failed", failed),
        ("waiting", max(0, total - completed - failed)),
    ):
        lines.add_metric([state], count)
    return [batches, lines]


def _webhooks(session: Session) -> Iterable[Metric]:
    counts = GaugeMetricFamily(
        "tunesmith_webhook_deliveries",
        "Events to be delivered (pending), and those given up in the last 30 days (failed).",
        labels=["status"],
    )
    overdue = GaugeMetricFamily(
        "tunesmith_webhook_overdue_seconds",
        "How long the oldest event that is due has not been tried; 0 where none is due.",
    )
    statuses = (deliveries.PENDING, deliveries.FAILED)
    found = dict.fromkeys(statuses, 0)
    for status, count in session.execute(
        select(WebhookDelivery.status, func.count())
        .where(WebhookDelivery.status.in_(statuses))
        .group_by(WebhookDelivery.status)
    ):
        found[status] = count
    for status, count in found.items():
        counts.add_metric([status], count)
    due = session.scalar(
        select(func.min(WebhookDelivery.next_at)).where(
            WebhookDelivery.status == deliveries.PENDING
        )
    )
    overdue.add_metric([], 0.0 if due is None else max(0.0, now(session) - due))
    return [counts, overdue]
