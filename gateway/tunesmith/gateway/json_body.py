"""JSON bodies, read strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from tunesmith.gateway.auth import identify
from tunesmith.gateway.idempotency import answer_once, takes_part
from tunesmith.platform.domain.errors import InvalidRequest, TooLarge

MAX_BODY = 1024 * 1024
"""Largest JSON body of a route that does not say otherwise, in bytes."""

MAX_DEPTH = 100
"""Deepest nesting of lists and objects."""

# UTF-8 has no bytes for half a pair and a JSON text none for NUL: both come as escapes alone.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NUL = rb"\u0000"


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


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidRequest: it is not JSON by RFC 8259 (NaN, Infinity), not an object, names a key
            twice, has half a surrogate pair, or is nested deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).",
            code="invalid_json",
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not UTF-8.", code="invalid_json") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # a number of thousands of digits
        raise InvalidRequest(
            f"The body is not valid JSON: {error}.", code="invalid_json"
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    # Most bodies have fewer brackets than the limit has levels: those need no second look.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    if _SURROGATE.search(raw):
        _check_texts(value, _refuse_half_a_character)
    return value


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
                _check_texts(value, _refuse_nul)
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidRequest(
                    f"The body names {key[:80]!r} twice in one object.",
                    param=key[:80],
                    code="duplicate_key",
                )
            seen.add(key)
    return value


def _refuse_constant(name: str) -> Any:
    raise InvalidRequest(f"The body is not valid JSON: {name} is no number.", code="invalid_json")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _check_texts(value: Any, check: Callable[[str], None]) -> None:
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest.extend(item.keys())
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, str):
            check(item)


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise InvalidRequest("The body has a text with a NUL character.", code="invalid_text")


def _refuse_half_a_character(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The body has a text with half of a surrogate pair, which is no character.",
            code="invalid_text",
        ) from error


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit:,} bytes.", code="request_too_large")


def _too_deep() -> InvalidRequest:
    return InvalidRequest(
        f"The body is nested deeper than {MAX_DEPTH} levels.", code="nesting_too_deep"
    )
