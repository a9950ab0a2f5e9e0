"""Inference as an ASGI application before FastAPI's: these are the requests that must be fast.

What FastAPI does for a route (validation, dependencies, a stack of middleware) takes longer than
all that the gateway has to do for a generation; docs/decisions/0015-hot-path.md has the figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from tunesmith.gateway.auth import identify_scope, tenant_with
from tunesmith.gateway.engines.answer import AnswerLost
from tunesmith.gateway.errors import render
from tunesmith.gateway.resources import Resources
from tunesmith.platform.domain.errors import InvalidRequest, TooLarge, TunesmithError
from tunesmith.platform.tenants import INFERENCE

from .answering import Generation
from .asked import Asked
from .disconnect import WhileConnected
from .errors import engine_lost

log = structlog.get_logger(__name__)

MAX_BODY = 16 * 1024 * 1024
"""Largest request for inference, in bytes."""

_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True)
class InferencePath:
    """A route as metrics and logs name it."""

    path: str


PATHS = {
    path: InferencePath(path)
    for path in (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/tokenize",
        "/detokenize",
    )
}


class InferencePaths:
    """ASGI middleware that answers the paths of inference, and passes all others on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route = PATHS.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        try:
            await _answer(scope, receive, send)
        except TunesmithError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                log.warning("request failed", code=error.code, error=error.message)
            if error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= 500:
                scope["state"]["resources"].inference.metrics.refused(error)
            await render(error)(scope, receive, send)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] != "POST":
        error = InvalidRequest(
            f"Not allowed method: {scope['method']} {scope['path']}.", code="method_not_allowed"
        )
        error.status = HTTPStatus.METHOD_NOT_ALLOWED
        error.headers = {"allow": "POST"}
        raise error
    state: dict[str, Any] = scope["state"]
    resources: Resources = state["resources"]
    caller = await identify_scope(scope)
    tenant_with(caller, INFERENCE)
    asked = Asked.of(scope["path"], await _body(scope, receive))
    seconds = resources.settings.inference_seconds
    async with WhileConnected(receive, seconds) as connected:
        generation = await resources.inference.begin(
            caller,
            asked,
            state["request_id"],
            received=state.get("received"),
            span=state.get("span"),
        )
        try:
            if generation.streamed:
                connected.answering()
                await _stream(generation, connected, send)
                return
            text = await generation.read()
        except TunesmithError as error:
            error.headers = generation.headers
            raise
        finally:
            generation.end()
    headers = [
        (b"content-type", generation.content_type.encode()),
        (b"content-length", b"%d" % len(text)),
    ]
    for name, value in generation.headers.items():
        headers.append((name.encode(), value.encode()))
    await send({"type": "http.response.start", "status": generation.status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def _stream(generation: Generation, connected: WhileConnected, send: Send) -> None:
    async def pass_on(text: bytes) -> None:
        connected.sending += 1
        await send({"type": "http.response.body", "body": text, "more_body": True})
        connected.sent = connected.sending

    headers = _STREAM_HEADERS + [
        (name.encode(), value.encode()) for name, value in generation.headers.items()
    ]
    connected.sending += 1
    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
    connected.sent += 1
    try:
        await generation.stream(pass_on)
    except AnswerLost as error:
        # The head is out: the rest of the stream is the place to say it. The empty line ends
        # an event that may have been cut.
        event = json.dumps(engine_lost(error).body())
        await pass_on(f"\n\ndata: {event}\n\n".encode())
    connected.over()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(scope: Scope, receive: Receive) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > MAX_BODY:
            raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return body
    parts = [body]
    size = len(body)
    if size > MAX_BODY:
        raise _too_large()
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise _too_large()
    return b"".join(parts)


def _too_large() -> TooLarge:
    return TooLarge(f"The body has more than {MAX_BODY:,} bytes.", code="request_too_large")
