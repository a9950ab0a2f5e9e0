"""`python -m tunesmith.workers.dispatcher`"""

from __future__ import annotations

import signal
import sys

import structlog

from tunesmith.platform.database import Database, wait_for_schema
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.tracing import open_tracing
from tunesmith.workers.dispatcher.dispatcher import Dispatcher
from tunesmith.workers.status_server import ProcessStatus, serve_status
from tunesmith.workers.tracking.choice import chosen_trackers

log = structlog.get_logger()


def main() -> None:
    """Lead or stand by, in the Ray cluster of the settings, until SIGTERM."""
    settings = Settings()
    configure_logs(settings, process="dispatcher")
    if not settings.ray_address:
        sys.exit("TUNESMITH_RAY_ADDRESS must name the Ray cluster that trains.")
    status = ProcessStatus()
    try:
        trackers = chosen_trackers(settings)
        database = Database(settings.database_url)
        tracing = open_tracing(settings, "dispatcher")
        dispatcher = Dispatcher(
            settings,
            database,
            Storage(settings.storage_url),
            trackers,
            status=status,
            tracing=tracing,
        )
        serve_status(settings, "dispatcher", status, dispatcher.metrics.registry)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: dispatcher.stop())
        with status.resting("database", "A database with a schema for this version."):
            if not wait_for_schema(database, settings, dispatcher.stopping):
                return
    except TunesmithError as error:
        sys.exit(error.message)
    log.info("dispatcher ready", ray=settings.ray_address)
    dispatcher.run()
    if tracing is not None:
        tracing.close()


if __name__ == "__main__":
    main()
