"""What Kubernetes and Prometheus ask a worker process: /healthz, /readyz and /metrics.

The server answers from threads of its own, from before anything is waited for. Healthy is a
process whose main loop turns, whatever it waits for: one that hangs is to be restarted, and one
that waits for a database would only start its waiting again. Ready is one that waits for nothing.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Literal
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.settings import Settings

log = structlog.get_logger()

HUNG_SECONDS = 120.0
"""A loop that has not turned for so long hangs: nothing that it does on purpose takes as long."""


class ProcessStatus:
    """Whether a process's loop turns, and what it waits for. Safe to use from several threads."""

    def __init__(
        self, *, hung_after: float = HUNG_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hung_after = hung_after
        self._clock = clock
        self._turned_at = clock()
        self._waits: dict[str, str] = {}
        self._at_rest = False
        self._lock = threading.Lock()

    def turned(self) -> None:
        """The main loop has come around, or is waiting on purpose."""
        self._turned_at = self._clock()

    def waits_for(self, what: str, why: str) -> None:
        """It cannot work before `what` is there."""
        with self._lock:
            self._waits[what] = why

    def has(self, *what: str) -> None:
        """It waits for these no longer."""
        with self._lock:
            for name in what:
                self._waits.pop(name, None)

    @contextmanager
    def resting(self, what: str, why: str) -> Iterator[None]:
        """The loop waits for `what` on purpose: not ready, and healthy however long that takes."""
        self.waits_for(what, why)
        self._at_rest = True
        yield
        self.turned()
        self._at_rest = False
        self.has(what)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether the loop turns, and the answer's body."""
        seconds = self._clock() - self._turned_at
        healthy = self._at_rest or seconds <= self._hung_after
        body: dict[str, Any] = {"status": "ok" if healthy else "hung"}
        if not healthy:
            body["reason"] = (
                f"The main loop has not turned for {seconds:.0f} s, more than the"
                f" {self._hung_after:.0f} s that anything takes."
            )
        return healthy, body

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether it waits for nothing, and the answer's body."""
        with self._lock:
            waits = dict(self._waits)
        return not waits, {"status": "waiting" if waits else "ready", "waiting_for": waits}


class StatusServer:
    """Answers GET /healthz, /readyz and /metrics until `close`.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(
        self, host: str, port: int, status: ProcessStatus, registry: CollectorRegistry
    ) -> None:
        metrics = make_wsgi_app(registry)

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            match environ.get("PATH_INFO"):
                case "/metrics":
                    return metrics(environ, start_response)  # type: ignore[no-any-return]
                case "/healthz":
                    good, body = status.health()
                case "/readyz":
                    good, body = status.readiness()
                case _:
                    return _answer(start_response, HTTPStatus.NOT_FOUND, {"status": "not found"})
            answer = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            return _answer(start_response, answer, body)

        server_class = _server_class(host, port)
        self._server = make_server(host, port, app, server_class, _QuietHandler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="status server", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens: of use with port 0."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_status(
    settings: Settings,
    process: Literal["dispatcher", "evaluator"],
    status: ProcessStatus,
    registry: CollectorRegistry,
) -> StatusServer | None:
    """The server of this process where the settings give it a port.

    Raises:
        InvalidRequest: it cannot listen there.
    """
    port: int | None = getattr(settings, f"{process}_metrics_port")
    if port is None:
        return None
    host = settings.metrics_host
    try:
        server = StatusServer(host, port, status, registry)
    except OSError as error:
        variable = f"TUNESMITH_{process.upper()}_METRICS_PORT"
        raise InvalidRequest(
            f"/metrics cannot be served at {host}:{port} ({error.strerror or error}); choose"
            f" another TUNESMITH_METRICS_HOST or {variable}.",
            param=f"{process}_metrics_port",
        ) from error
    log.info("status served", host=host, port=server.port)
    return server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 32

    def server_bind(self) -> None:
        # HTTPServer looks its own name up in the DNS, which may take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come all the time."""


def _server_class(host: str, port: int) -> type[_Server]:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return type("_ServerOfFamily", (_Server,), {"address_family": family})


def _answer(start_response: Any, status: HTTPStatus, body: dict[str, Any]) -> Iterable[bytes]:
    data = json.dumps(body).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [data]
