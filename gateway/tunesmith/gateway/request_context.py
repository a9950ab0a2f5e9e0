"""Around every request: its id, its time, its log line, its place in the metrics."""

from __future__ import annotations

import re
from http import HTTPStatus
from time import perf_counter

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.gateway.errors import render, unexpected
from tunesmith.gateway.metrics import Metrics
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.request_log import RequestLog
from tunesmith.platform.tracing import JOBS_PATH, Span, Tracing, current_traceparent

from .inference.paths import PATHS

log = structlog.get_logger(__name__)

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = ("/healthz", "/readyz", "/metrics")
_VERSION = (b"openai-version", b"2020-10-01")
_NAMED = frozenset({*PATHS, JOBS_PATH})
"""Paths that are their routes', so that a span can be named, and chosen, as it begins."""
CLIENT_GONE = 499
"""Status in logs and metrics of a request whose client did not wait (nginx's number)."""


class RequestContext:
    """ASGI middleware; outside of everything else, so that no error passes unseen."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        request_log: RequestLog,
        tracing: Tracing | None = None,
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.request_log = request_log
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        request_id = _given_id(scope) or f"req_{random_text()}"
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["received"] = started
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if self.tracing is not None:
            _begin_span(self.tracing, scope)
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                caller = state.get("caller")
                headers = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    _VERSION,
                    (b"openai-processing-ms", b"%d" % round((perf_counter() - started) * 1000)),
                ]
                if caller is not None and caller.tenant_id is not None:
                    headers.append((b"openai-organization", caller.tenant_id.encode()))
                message["headers"] = headers
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
                status = HTTPStatus.INTERNAL_SERVER_ERROR
                raise  # the connection is cut: the client must not take half an answer for one
            await unexpected(request_id)(scope, receive, send_with_headers)
        finally:
            self.metrics.in_flight.dec()
            self._note(scope, status or CLIENT_GONE, perf_counter() - started, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route: str = getattr(scope.get("route"), "path", "unknown")
        method: str = scope["method"]
        caller = scope["state"].get("caller")
        tenant_id = None if caller is None else caller.tenant_id
        self.metrics.answered(method, route, status, seconds)
        span: Span | None = scope["state"].get("span")
        self.request_log(
            method,
            scope["path"],
            status,
            seconds,
            request_id,
            tenant_id,
            route in _QUIET,
            None if span is None else span.trace_id,
        )
        if span is not None:
            _end_span(span, method, route, status, tenant_id)


def _begin_span(tracing: Tracing, scope: Scope) -> None:
    """Begin the request's span, in the trace that its client names perhaps."""
    if scope["path"] in _QUIET:
        return
    parent = None
    for name, value in scope["headers"]:
        if name == b"traceparent":
            parent = value.decode("latin-1")
    method, path, state = scope["method"], scope["path"], scope["state"]
    span = tracing.span(
        f"{method} {path}" if path in _NAMED else method,
        parent,
        {
            "http.request.method": method,
            "url.path": path[:256],
            "tunesmith.request_id": state["request_id"],
        },
        kind="server",
    )
    state["span"] = span
    current_traceparent.set(span.traceparent)
    structlog.contextvars.bind_contextvars(trace_id=span.trace_id)


def _end_span(span: Span, method: str, route: str, status: int, tenant_id: str | None) -> None:
    span.rename(f"{method} {route}")
    span.set({"http.route": route, "http.response.status_code": status})
    if tenant_id is not None:
        span.set({"tunesmith.tenant_id": tenant_id})
    failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    span.end(f"answered {status}" if failed else None)


def _given_id(scope: Scope) -> str | None:
    """The client's own id for the request, where it is one that fits into a log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            return text if _GIVEN_ID.fullmatch(text) else None
    return None
