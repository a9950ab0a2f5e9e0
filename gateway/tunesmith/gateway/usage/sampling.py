"""Sampling what tenants have in storage, in every gateway."""

from __future__ import annotations

from functools import partial

from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.database import Database
from tunesmith.platform.usage.batches import forget_batches
from tunesmith.platform.usage.stored import sample

from .days import today

SAMPLE_SECONDS = 3600.0


def storage_sampler(database: Database) -> Recurring:
    """Writes down what is stored, at the start and every hour, while it is entered.

    Several gateways that do so at once write the same. It also drops old ids of usage batches.
    """
    return Recurring(
        partial(run_in_threadpool, _sample, database),
        seconds=SAMPLE_SECONDS,
        name="sample storage",
    )


def _sample(database: Database) -> None:
    with database.transaction() as session:
        sample(session, today())
    with database.transaction() as session:
        forget_batches(session)
