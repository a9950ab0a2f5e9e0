"""Around every request: its id, its time, its log line, its place in the metrics."""

from __future__ import annotations

import re
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.gateway.errors import render, unexpected
from tunesmith.gateway.metrics import Metrics
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.ids import random_text

log = structlog.get_logger(__name__)

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = ("/healthz", "/readyz", "/metrics")
CLIENT_GONE = 499
"""Status in logs and metrics of a request whose client did not wait (nginx's number)."""


class RequestContext:
    """ASGI middleware; outside of everything else, so that no error passes unseen."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else f"req_{random_text()}"
        state = scope.setdefault("state", {})
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["openai-version"] = "2020-10-01"
                headers["openai-processing-ms"] = str(round((perf_counter() - started) * 1000))
                caller = state.get("caller")
                if caller is not None and caller.tenant_id is not None:
                    headers["openai-organization"] = caller.tenant_id
            await send(message)

        self.metrics.in_flight.inc()
        try:
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                # No id has it, and PostgreSQL cannot even compare with it.
                answer = render(InvalidRequest("The URL has a NUL character."))
                await answer(scope, receive, send_with_headers)
            else:
                await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception:
            log.exception("unexpected error", method=scope["method"], path=scope["path"])
            if status is not None:
                status = 500
                raise  # the connection is cut: the client must not take half an answer for one
            await unexpected(request_id)(scope, receive, send_with_headers)
        finally:
            self.metrics.in_flight.dec()
            self._note(scope, status or CLIENT_GONE, perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"]
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.seconds.labels(method, route).observe(seconds)
        write = log.debug if route in _QUIET else log.info
        write(
            "request",
            method=method,
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )
