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

log = structlog.get_logger(__name__)

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = ("/healthz", "/readyz", "/metrics")
_VERSION = (b"openai-version", b"2020-10-01")
CLIENT_GONE = 499
"""Status in logs and metrics of a request whose client did not wait (nginx's number)."""


class RequestContext:
    """ASGI middleware; outside of everything else, so that no error passes unseen."""

    def __init__(self, app: ASGIApp, metrics: Metrics, request_log: RequestLog) -> None:
        self.app = app
        self.metrics = metrics
        self.request_log = request_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        request_id = _given_id(scope) or f"req_{random_text()}"
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
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
        self.metrics.answered(method, route, status, seconds)
        self.request_log(
            method,
            scope["path"],
            status,
            seconds,
            request_id,
            None if caller is None else caller.tenant_id,
            route in _QUIET,
        )


def _given_id(scope: Scope) -> str | None:
    """The client's own id for the request, where it is one that fits into a log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            return text if _GIVEN_ID.fullmatch(text) else None
    return None
