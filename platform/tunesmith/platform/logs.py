"""Structured logs, one format for all processes: JSON lines on stderr, colours on a terminal.

A process calls `configure_logs(settings, process="gateway")` once, at its edge. Everywhere else:

    log = structlog.get_logger(__name__)
    with structlog.contextvars.bound_contextvars(job_id=job.id, tenant_id=job.tenant_id):
        log.info("job claimed", attempt=2)

Names of bound ids are `job_id`, `tenant_id`, `request_id` and `trace_id`. Records of the standard
library's `logging` (SQLAlchemy, uvicorn, alembic) take the same path.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Protocol, TextIO

import structlog
from structlog.typing import EventDict, Processor

# They say at INFO what is their own business.
_CHATTY = ("alembic", "botocore", "fsspec", "httpcore", "httpx", "s3fs", "urllib3")


class LogSettings(Protocol):
    """How a process logs: two of the `Settings`."""

    @property
    def log_format(self) -> str: ...
    @property
    def log_level(self) -> str: ...


def configure_logs(settings: LogSettings, *, process: str, stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (stderr where not given) in the settings' format.

    Args:
        process: name of the process, written into every JSON line.
    """
    stream = stream or sys.stderr
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and stream.isatty()
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]

    def add_process(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    render: list[Processor]
    if console:
        # Rich tracebacks take seconds each and print local variables, keys among them.
        render = [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    else:
        render = [
            add_process,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # uvicorn installs handlers of its own unless it is told `log_config=None`. Its log of requests
    # stays as its server has it: the gateway writes its own.
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
