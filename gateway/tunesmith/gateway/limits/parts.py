"""The limits of a gateway, put together by its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from tunesmith.gateway.metrics import Metrics
from tunesmith.platform.database import Database
from tunesmith.platform.settings import Settings

from .fail_open import FailOpenStore
from .figures import of_store
from .gateways import LiveGateways
from .redis_store import RedisStore
from .request_limits import RequestLimits
from .store import BudgetStore, DatabaseStore


@asynccontextmanager
async def open_limits(
    settings: Settings, database: Database, metrics: Metrics | None = None
) -> AsyncIterator[RequestLimits]:
    """Limits that all gateways of this database share, through Redis where the settings name one.

    Leases are given back at the end, so it must end before the database does.
    """
    store: BudgetStore = (
        RedisStore(settings.redis_url) if settings.redis_url else DatabaseStore(database)
    )
    async with LiveGateways(database) as gateways:
        guarded = FailOpenStore(store, gateways.share)
        if metrics is not None:
            metrics.collect_from(partial(of_store, guarded))
        try:
            async with RequestLimits(guarded, gateways.place) as limits:
                yield limits
        finally:
            await guarded.close()
