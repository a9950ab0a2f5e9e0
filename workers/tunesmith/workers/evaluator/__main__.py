"""`python -m tunesmith.workers.evaluator`"""

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
from tunesmith.workers.evaluator.evaluator import Evaluator
from tunesmith.workers.status_server import ProcessStatus, serve_status

log = structlog.get_logger()


def main() -> None:
    """Work on evaluations and data reports until SIGTERM."""
    settings = Settings()
    configure_logs(settings, process="evaluator")
    status = ProcessStatus()
    try:
        database = Database(settings.database_url)
        tracing = open_tracing(settings, "evaluator")
        evaluator = Evaluator(
            settings, database, Storage(settings.storage_url), status=status, tracing=tracing
        )
        serve_status(settings, "evaluator", status, evaluator.registry)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: evaluator.stopping.set())
        with status.resting("database", "A database with a schema for this version."):
            if not wait_for_schema(database, settings, evaluator.stopping):
                return
    except TunesmithError as error:
        sys.exit(error.message)
    log.info("evaluator ready", engines=settings.engines)
    evaluator.run()
    if tracing is not None:
        tracing.close()


if __name__ == "__main__":
    main()
