"""The gateway as a process."""

from __future__ import annotations

import gc
import resource
import sys

import uvicorn

from tunesmith.gateway.app import create_app
from tunesmith.gateway.http_limits import LimitedHttp
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.request_log import json_request_log, structured_request_log
from tunesmith.platform.settings import Settings

GRACE_SECONDS = 5
"""Time that requests in flight get to end after SIGTERM or SIGINT; then they are ended."""

_FILES = 65_536
_COLLECT_AFTER = (20_000, 20, 20)

# Longer than what load balancers keep a connection idle, so that they are the ones to close it.
_KEEP_ALIVE_SECONDS = 75


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and end within 10 s of it."""
    configure_logs(settings, process="gateway")
    in_json = settings.log_format == "json" or not sys.stderr.isatty()
    request_log = (
        json_request_log(settings, sys.stderr, process="gateway")
        if in_json and settings.log_format != "console"
        else structured_request_log
    )
    _allow_many_connections()
    # What lives until the end is looked through no more, and garbage is collected less often:
    # a request makes hundreds of objects and hardly ever a cycle of them.
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    uvicorn.run(
        create_app(settings, request_log),
        host=settings.host,
        port=settings.port,
        http=LimitedHttp,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        reset_contextvars=True,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _allow_many_connections() -> None:
    """A stream holds two connections; many systems allow 1,024 files unless asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
