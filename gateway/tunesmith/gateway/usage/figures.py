"""What Prometheus sees of the ledger, and of the few tenants that use the most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Job, Usage
from tunesmith.platform.domain.job import UNFINISHED
from tunesmith.platform.usage import Counts, UsageKey

from .ledger import UsageLedger

OTHER = "other"
"""The label of all tenants that have none of their own."""

CHOOSE_SECONDS = 300.0
"""How often the tenants that are named are chosen anew."""


def of_ledger(ledger: UsageLedger) -> Iterable[Metric]:
    """How far the ledger is behind what was used."""
    return [
        GaugeMetricFamily(
            "tunesmith_usage_ledger_lag_seconds",
            "Age of the oldest usage that is in memory alone.",
            ledger.lag_seconds,
        ),
        GaugeMetricFamily(
            "tunesmith_usage_ledger_rows",
            "Rows of usage that are in memory alone.",
            ledger.unwritten_rows,
        ),
        CounterMetricFamily(
            "tunesmith_usage_ledger_write_failures",
            "Tries to write usage that failed; it is kept and tried again.",
            ledger.failures,
        ),
    ]


class TenantFigures:
    """Requests, tokens and unfinished jobs of the tenants that use the most, and of the others.

    Those with most tokens since yesterday (UTC) by the ledger have a label of their own, so that
    all gateways name the same. What a tenant used before it was named counts as `other`, and a
    series that comes back begins at 0, as after a restart: rates are right, sums over all are too.

    Args:
        most: tenants that are named; the number of series is bounded by it.
    """

    def __init__(self, database: Database, registry: CollectorRegistry, most: int) -> None:
        self._database = database
        self._most = most
        self._named: frozenset[str] = frozenset()
        self._requests = Counter(
            "tunesmith_tenant_requests",
            "Requests answered, of tenants that use much, and of all others.",
            ["tenant"],
            registry=registry,
        )
        self._tokens = Counter(
            "tunesmith_tenant_tokens",
            "Tokens that engines reported, of tenants that use much, and of all others.",
            ["tenant", "kind"],
            registry=registry,
        )

    def used(self, counted: Mapping[UsageKey, Counts]) -> None:
        """Count what the ledger has written."""
        for key, counts in counted.items():
            tenant = key.tenant_id if key.tenant_id in self._named else OTHER
            self._requests.labels(tenant).inc(counts.requests)
            self._tokens.labels(tenant, "prompt").inc(counts.prompt_tokens)
            self._tokens.labels(tenant, "completion").inc(counts.completion_tokens)

    async def choose(self) -> None:
        """Choose who is named; raises `Unavailable` where the database does not answer."""
        named = await run_in_threadpool(self._who_uses_most)
        for tenant in self._named - named:
            self._requests.remove(tenant)
            for kind in ("prompt", "completion"):
                self._tokens.remove(tenant, kind)
        for tenant in named - self._named:  # at 0, so that the first use is a rise
            self._requests.labels(tenant)
            for kind in ("prompt", "completion"):
                self._tokens.labels(tenant, kind)
        self._named = named

    def of_jobs(self, session: Session) -> Iterable[Metric]:
        """Unfinished jobs by tenant and status."""
        family = GaugeMetricFamily(
            "tunesmith_tenant_unfinished_jobs",
            "Jobs to be done, of tenants that use much, and of all others.",
            labels=["tenant", "status"],
        )
        counts: dict[tuple[str, str], int] = {
            (tenant, status.value): 0
            for tenant in (*sorted(self._named), OTHER)
            for status in sorted(UNFINISHED)
        }
        rows = session.execute(
            select(Job.tenant_id, Job.status, func.count())
            .where(Job.status.in_(sorted(UNFINISHED)))
            .group_by(Job.tenant_id, Job.status)
        )
        for tenant_id, status, count in rows:
            counts[tenant_id if tenant_id in self._named else OTHER, status] += count
        for labels, count in counts.items():
            family.add_metric(labels, count)
        return [family]

    def _who_uses_most(self) -> frozenset[str]:
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        tokens = func.sum(Usage.prompt_tokens + Usage.completion_tokens)
        with self._database.reading() as session:
            return frozenset(
                session.scalars(
                    select(Usage.tenant_id)
                    .where(Usage.day >= yesterday)
                    .group_by(Usage.tenant_id)
                    .order_by(tokens.desc(), Usage.tenant_id)
                    .limit(self._most)
                )
            )
