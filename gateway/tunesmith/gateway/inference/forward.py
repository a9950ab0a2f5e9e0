"""The way of a generation: a name resolved, an engine asked, its answer passed back."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import aiohttp
import structlog
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from tunesmith.gateway.auth import identify
from tunesmith.gateway.errors import ErrorResponse
from tunesmith.gateway.json_body import parse_object, read_body
from tunesmith.gateway.models.catalogue import Choice
from tunesmith.gateway.resources import Resources
from tunesmith.platform.domain.errors import InvalidRequest

from .disconnect import unless_disconnected
from .errors import RefusedByEngine, engine_lost, of_engine
from .exchange import Exchange, ask
from .renaming import Renaming, Usage, relay, usage_in

log = structlog.get_logger(__name__)

MAX_BODY = 16 * 1024 * 1024
"""Largest request for inference, in bytes."""


async def forward(request: Request, resources: Resources, tenant_id: str, path: str) -> Response:
    """Pass a request on to an engine, all of its fields but `model` as they are.

    Raises:
        InvalidRequest, TooLarge: the body cannot be passed on.
        NotFound: no such model or alias of this tenant.
        Unavailable: no engine can answer now.
    """
    body = parse_object(await read_body(request, MAX_BODY))
    name = body.get("model")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise InvalidRequest(
            "You must provide a `model`: the name of a base, of one of your tuned models, or of"
            " one of your aliases.",
            param="model",
            code="missing_required_parameter" if name is None else "invalid_value",
        )
    key_id = (await identify(request)).key_id
    served = await resources.catalogue.choose(tenant_id, name, _user(body))
    target = served.target
    body["model"] = target.engine_name
    exchange = await unless_disconnected(
        request.receive, ask(resources.engines, target, path, _encode(body))
    )
    answer = _Answer(resources, exchange, served, name, tenant_id=tenant_id, key_id=key_id)
    if exchange.status == HTTPStatus.OK and exchange.content_type == "text/event-stream":
        return _Stream(answer)
    try:
        text = await unless_disconnected(request.receive, exchange.read())
    finally:
        exchange.close()
    if exchange.status != HTTPStatus.OK:
        error = of_engine(exchange.status, text, target, name)
        if isinstance(error, RefusedByEngine):
            return ErrorResponse(
                error.body(), status_code=error.answered_status, headers=answer.headers
            )
        raise error
    answer.usage = usage_in(text)
    answer.settle()
    answer.came()
    return Response(answer.renaming(text), media_type=exchange.content_type, headers=answer.headers)


def _user(body: dict[str, Any]) -> str | None:
    """Who the request is for: OpenAI's `user`, or `safety_identifier`, which replaces it there."""
    for field in ("user", "safety_identifier"):
        value = body.get(field)
        if isinstance(value, str) and value:
            return value
    return None


class _Answer:
    """An engine's answer, who it is for and which model gave it, and what is remembered of it."""

    def __init__(
        self,
        resources: Resources,
        exchange: Exchange,
        served: Choice,
        name: str,
        *,
        tenant_id: str,
        key_id: str,
    ) -> None:
        self.exchange = exchange
        self.usage: Usage | None = None
        self.served = served
        self.tenant_id = tenant_id
        self.key_id = key_id
        self.renaming = Renaming.of(served.target, name)
        self._resources = resources
        self._target = served.target

    @property
    def headers(self) -> dict[str, str]:
        """Which model answers, and which revision of which alias chose it."""
        headers = {"x-tunesmith-model": self.served.model}
        if self.served.alias is not None:
            headers["x-tunesmith-alias"] = self.served.alias
            headers["x-tunesmith-alias-revision"] = str(self.served.revision)
        return headers

    def came(self) -> None:
        """The engine answers for this model."""
        if self._target.digest is not None:
            self._resources.engines.served(
                self.exchange.engine, self._target.base, self._target.digest
            )

    def report(self, usage: Usage) -> None:
        """The engine reported its tokens so far."""
        self.usage = usage

    def settle(self) -> None:
        """Count the request, and the tokens that the engine reported last."""
        self._resources.usage.record(
            self.tenant_id,
            self.key_id,
            self.served.model,
            self.served.alias or "",
            self.usage.prompt if self.usage else 0,
            self.usage.completion if self.usage else 0,
        )
        if self.usage is not None:
            tokens = self._resources.metrics.tokens
            tokens.labels(self._target.base, "prompt").inc(self.usage.prompt)
            tokens.labels(self._target.base, "completion").inc(self.usage.completion)


class _Stream(Response):
    """Server-sent events of an engine, passed on as they come."""

    media_type = "text/event-stream"

    def __init__(self, answer: _Answer) -> None:
        super().__init__(
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"} | answer.headers
        )
        del self.headers["content-length"]
        self._answer = answer

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Pass the stream on; a client that goes away aborts it in the engine."""
        try:
            await unless_disconnected(receive, self._pass_on(send))
        finally:
            self._answer.settle()
            self._answer.exchange.close()

    async def _pass_on(self, send: Send) -> None:
        answer = self._answer
        await send(
            {
                "type": "http.response.start",
                "status": HTTPStatus.OK,
                "headers": self.raw_headers,
            }
        )
        try:
            chunks = answer.exchange.body.iter_any()
            async for text in relay(chunks, answer.renaming, answer.report):
                await send({"type": "http.response.body", "body": text, "more_body": True})
            answer.came()
        except (aiohttp.ClientError, TimeoutError) as error:
            # The head is out: the rest of the stream is the place to say it. The empty line ends
            # an event that may have been cut.
            event = json.dumps(engine_lost(error).body())
            text = f"\n\ndata: {event}\n\n".encode()
            await send({"type": "http.response.body", "body": text, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError as error:  # 1e999 is valid JSON, and no number
        raise InvalidRequest("The body has a number that is too large.") from error
