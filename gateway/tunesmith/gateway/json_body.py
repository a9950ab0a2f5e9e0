"""JSON bodies, read strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from tunesmith.gateway.auth import identify
from tunesmith.gateway.idempotency import answer_once, takes_part
from tunesmith.gateway.strict_json import check_texts, parse_object
from tunesmith.platform.domain.errors import InvalidRequest, TooLarge

MAX_BODY = 1024 * 1024
"""Largest JSON body of a route that does not say otherwise, in bytes."""

_NUL = rb"\u0000"  # a JSON text has NUL as an escape alone


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body.

    Raises:
        TooLarge: it has more than `limit` bytes.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


class JsonRoute(APIRoute):
    """A route whose body is read by `parse_object`, after its key was checked."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given a request whose JSON is read already."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        once = takes_part(self.dependant)

        async def read_then_handle(request: Request) -> Response:
            await identify(request)
            if _media_type(request) != "application/json":
                raise InvalidRequest(
                    "Send the body as JSON, with the header `Content-Type: application/json`.",
                    code="unsupported_content_type",
                )
            raw = await read_body(request, MAX_BODY)
            value = parse_object(raw)
            if _NUL in raw:
                check_texts(value, _refuse_nul)
            read = _ReadRequest(request, value)
            if not once:
                return await handle(read)
            content = json.dumps(value, sort_keys=True)
            return await answer_once(request, self.path_format, content, lambda: handle(read))

        return read_then_handle


class _ReadRequest(Request):
    """A request whose JSON body was read and parsed."""

    def __init__(self, request: Request, value: dict[str, Any]) -> None:
        super().__init__(request.scope, request.receive)
        self._value = value

    async def body(self) -> bytes:
        return b"{...}"  # FastAPI only asks whether there is one

    async def json(self) -> Any:
        return self._value


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";", 1)[0].strip().lower()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit:,} bytes.", code="request_too_large")


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise InvalidRequest("The body has a text with a NUL character.", code="invalid_text")
