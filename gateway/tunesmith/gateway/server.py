"""The gateway as a process."""

from __future__ import annotations

import uvicorn

from tunesmith.gateway.app import create_app
from tunesmith.gateway.http_limits import LimitedHttp
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings

GRACE_SECONDS = 5
"""Time that requests in flight get to end after SIGTERM or SIGINT; then they are ended."""

# Longer than what load balancers keep a connection idle, so that they are the ones to close it.
_KEEP_ALIVE_SECONDS = 75


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and end within 10 s of it."""
    configure_logs(settings, process="gateway")
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=LimitedHttp,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
