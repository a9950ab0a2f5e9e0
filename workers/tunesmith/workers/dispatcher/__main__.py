"""`python -m tunesmith.workers.dispatcher`"""

from __future__ import annotations

import signal
import sys

import ray
import structlog

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.workers.dispatcher.dispatcher import Dispatcher
from tunesmith.workers.tracking.choice import chosen_trackers

log = structlog.get_logger()


def main() -> None:
    """Join the Ray cluster of the settings and work until SIGTERM."""
    settings = Settings()
    configure_logs(settings, process="dispatcher")
    if not settings.ray_address:
        sys.exit("TUNESMITH_RAY_ADDRESS must name the Ray cluster that trains.")
    try:
        trackers = chosen_trackers(settings)
    except InvalidRequest as error:
        sys.exit(error.message)
    ray.init(
        address=settings.ray_address,
        namespace="tunesmith",
        logging_level="warning",
        log_to_driver=True,
        configure_logging=False,
    )
    dispatcher = Dispatcher(
        settings, Database(settings.database_url), Storage(settings.storage_url), trackers
    )
    if settings.dispatcher_metrics_port is not None:
        host, port = settings.metrics_host, settings.dispatcher_metrics_port
        try:
            dispatcher.metrics.serve(host, port)
        except OSError as error:
            sys.exit(
                f"/metrics cannot be served at {host}:{port} ({error.strerror}); choose another"
                " TUNESMITH_METRICS_HOST or TUNESMITH_DISPATCHER_METRICS_PORT."
            )
        log.info("metrics served", host=host, port=port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    log.info("dispatcher ready", ray=settings.ray_address)
    dispatcher.run()
    ray.shutdown()


if __name__ == "__main__":
    main()
