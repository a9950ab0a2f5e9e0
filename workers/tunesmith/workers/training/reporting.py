"""Logs and traces of a process that Ray started."""

from __future__ import annotations

import structlog

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.tracing import Tracing, open_tracing
from tunesmith.workers.training.work import Reporting

log = structlog.get_logger()


def begin_reporting(reporting: Reporting, process: str) -> Tracing | None:
    """Log as all processes do; the traces, where there are any.

    A worker whose image lacks OpenTelemetry trains all the same, and says so.
    """
    configure_logs(reporting, process=process)
    try:
        return open_tracing(reporting, process)
    except InvalidRequest as error:
        log.warning("this process makes no traces", why=error.message)
        return None
