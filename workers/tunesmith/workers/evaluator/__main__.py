"""`python -m tunesmith.workers.evaluator`"""

from __future__ import annotations

import signal

import structlog

from tunesmith.platform.database import Database
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.workers.evaluator.evaluator import Evaluator

log = structlog.get_logger()


def main() -> None:
    """Work on evaluations and data reports until SIGTERM."""
    settings = Settings()
    configure_logs(settings, process="evaluator")
    evaluator = Evaluator(settings, Database(settings.database_url), Storage(settings.storage_url))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: evaluator.stopping.set())
    log.info("evaluator ready", engines=settings.engines)
    evaluator.run()


if __name__ == "__main__":
    main()
