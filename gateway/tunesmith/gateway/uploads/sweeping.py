"""Sweeping expired uploads, in every gateway."""

from __future__ import annotations

from functools import partial

import structlog
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.database import Database
from tunesmith.platform.storage import Storage
from tunesmith.platform.uploads.sweeping import sweep

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 300.0


def upload_sweeper(database: Database, storage: Storage) -> Recurring:
    """Deletes the parts of uploads whose time is over, while it is entered."""
    return Recurring(
        partial(_sweep, database, storage), seconds=SWEEP_SECONDS, name="sweep uploads"
    )


async def _sweep(database: Database, storage: Storage) -> None:
    swept = await run_in_threadpool(sweep, database, storage)
    if swept:
        log.info("uploads swept", uploads=swept)
