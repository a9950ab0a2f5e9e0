"""Which figures a gateway's /metrics has besides those that its requests make."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

from prometheus_client.metrics_core import Metric
from sqlalchemy.orm import Session

from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.metrics import Metrics
from tunesmith.gateway.recurring import Recurring
from tunesmith.gateway.usage.figures import CHOOSE_SECONDS, TenantFigures, of_ledger
from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.platform.database import Database
from tunesmith.platform.jobs.counting import JobCounts
from tunesmith.platform.metrics.database import watch_database
from tunesmith.platform.metrics.process import describe_process
from tunesmith.platform.metrics.storage import watch_storage
from tunesmith.platform.storage import Storage

from . import figures


@asynccontextmanager
async def figures_kept(
    metrics: Metrics,
    *,
    database: Database,
    storage: Storage,
    pool: EnginePool,
    ledger: UsageLedger,
    named_tenants: int,
) -> AsyncIterator[None]:
    """Have `metrics` tell of the gateway's parts.

    Args:
        named_tenants: tenants that have series of their own, at most.
    """
    describe_process(metrics.registry, "gateway")
    watch_database(metrics.registry, database)
    watch_storage(metrics.registry, storage)
    metrics.collect_from(partial(of_ledger, ledger))
    metrics.collect_from(partial(figures.of_engines, pool))
    others: list[Callable[[Session], Iterable[Metric]]] = []
    metrics.collect_from(partial(figures.of_database, database, JobCounts(), others))
    if not named_tenants:
        yield
        return
    tenants = TenantFigures(database, metrics.registry, named_tenants)
    ledger.written = tenants.used
    others.append(tenants.of_jobs)
    async with Recurring(tenants.choose, seconds=CHOOSE_SECONDS, name="choose tenants to name"):
        yield
