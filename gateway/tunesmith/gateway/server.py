"""The gateway as a process."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import sys
from functools import partial
from socket import socket
from time import monotonic
from types import FrameType

import structlog
import uvicorn

from tunesmith.gateway.app import create_app
from tunesmith.gateway.http_limits import LimitedHttp
from tunesmith.gateway.lifecycle import Lifecycle, Phase
from tunesmith.platform.certificates import CertificateUnusable, ServedCertificate
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.request_log import json_request_log, structured_request_log
from tunesmith.platform.settings import Settings

log = structlog.get_logger(__name__)

_FILES = 65_536
_COLLECT_AFTER = (20_000, 20, 20)

# Longer than what load balancers keep a connection idle, so that they are the ones to close it.
_KEEP_ALIVE_SECONDS = 75


# What a request that is ended needs to write down what it used.
_LAST_SECONDS = 1.0
_LOOK_SECONDS = 0.05


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain, and end what has not ended by itself.

    The end takes `drain_seconds` and at most `grace_seconds`, and some seconds for what is still
    to be written down. A second signal cuts both short.
    """
    configure_logs(settings, process="gateway")
    in_json = settings.log_format == "json" or not sys.stderr.isatty()
    request_log = (
        json_request_log(settings, sys.stderr, process="gateway")
        if in_json and settings.log_format != "console"
        else structured_request_log
    )
    _allow_many_connections()
    certificate = _certificate_of(settings)
    app = create_app(settings, request_log)
    lifecycle = Lifecycle(app, partial(app.router.lifespan_context, app))
    # What lives until the end is looked through no more, and garbage is collected less often:
    # a request makes hundreds of objects and hardly ever a cycle of them.
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    config = uvicorn.Config(
        lifecycle,
        interface="asgi3",
        host=settings.host,
        port=settings.port,
        http=LimitedHttp,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        reset_contextvars=True,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ssl_certfile=settings.tls_certificate_file,
        ssl_keyfile=settings.tls_key_file,
    )
    server = Server(config, lifecycle, settings.drain_seconds, settings.grace_seconds)
    server.certificate = certificate
    server.run()
    if lifecycle.failed:
        sys.exit(1)


class Server(uvicorn.Server):
    """uvicorn's server, which drains: told to end, it serves on for a time before it listens no
    more, so that whoever sends it requests can notice.
    """

    def __init__(
        self, config: uvicorn.Config, lifecycle: Lifecycle, drain: float, grace: float
    ) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain = drain
        self._grace = grace
        self._drained_at: float | None = None
        self._hurried = False
        self.certificate: ServedCertificate | None = None
        """Where it serves HTTPS: looked at for as long as it runs."""
        lifecycle.on_failure = self._end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Drain; at a second signal end."""
        self._captured_signals.append(sig)
        if self._drained_at is not None:
            self._hurried = self.should_exit = True
        elif self._lifecycle.phase is Phase.STARTING:
            self._end()
        else:
            self._lifecycle.drain()
            self._drained_at = monotonic() + self._drain
            log.info(
                "draining",
                signal=signal.Signals(sig).name,
                drain_seconds=self._drain,
                grace_seconds=self._grace,
            )

    async def on_tick(self, counter: int) -> bool:
        """Whether to listen no more; asked ten times a second."""
        if self.certificate is not None and self.config.ssl is not None:
            self.certificate.refresh(self.config.ssl)
        if self._drained_at is not None and monotonic() >= self._drained_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Listen no more, let requests end for the grace, end the rest, then the application."""
        for server in self.servers:
            server.close()
        for given in sockets or []:
            given.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()  # at once, or with the answer that is under way
        log.info("no new requests", connections=len(state.connections), requests=len(state.tasks))
        deadline = monotonic() + self._grace
        while (  # noqa: ASYNC110 - uvicorn's connections tell nobody
            (state.connections or state.tasks) and monotonic() < deadline and not self._hurried
        ):
            await asyncio.sleep(_LOOK_SECONDS)
        left = list(state.tasks)
        if left:
            log.error("requests ended before their time", requests=len(left))
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_LAST_SECONDS)
        await self.lifespan.shutdown()

    def _end(self) -> None:
        self.should_exit = True


def _certificate_of(settings: Settings) -> ServedCertificate | None:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    try:
        return ServedCertificate(settings.tls_certificate_file, settings.tls_key_file)
    except CertificateUnusable as error:
        log.error("the gateway cannot serve HTTPS", why=error.message)
        sys.exit(1)


def _allow_many_connections() -> None:
    """A stream holds two connections; many systems allow 1,024 files unless asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
