"""Every error in OpenAI's shape: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tunesmith.platform.domain.errors import (
    InvalidRequest,
    NotFound,
    RateLimited,
    TooLarge,
    TunesmithError,
    Unavailable,
)

log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    """What was wrong: in a sentence, by kind, and where."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Body of every answer that is an error."""

    error: ErrorDetail


_DESCRIPTIONS: dict[int | str, str] = {
    400: "The request cannot be done as it was put.",
    401: "No key, or not a valid one.",
    403: "The key may not do this.",
    404: "It does not exist, or it is another tenant's.",
    408: "The request did not come in time.",
    413: "The body is too large.",
    414: "The URL is too long.",
    429: "A limit is reached; see `Retry-After`.",
    431: "The headers are too many, or too large.",
    500: "A fault of the gateway's own; its logs have it by the answer's `x-request-id`.",
    503: "A part that is needed is not there now; see `Retry-After`.",
    "default": "Any other error.",
}
_OF_SOME = {409: "The first request with this idempotency key is still being answered."}

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in _DESCRIPTIONS.items()
}
"""Errors that any route may answer, for the OpenAPI document."""


def of_statuses(*statuses: int) -> dict[str, Any]:
    """Errors as the OpenAPI document has them; without statuses those of any route."""
    told = {status: _OF_SOME[status] for status in statuses} or _DESCRIPTIONS
    schema = {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}
    return {
        str(status): {
            "description": description,
            "content": {"application/json": {"schema": schema}},
        }
        for status, description in told.items()
    }


class ErrorResponse(JSONResponse):
    """An error's body, in ASCII: it may quote half a character, which UTF-8 has no bytes for."""

    def render(self, content: Any) -> bytes:
        """`content` as JSON."""
        return json.dumps(content, separators=(",", ":")).encode()


_OF_THE_INSIDE = {"database_unavailable": "The database", "storage_unavailable": "The storage"}
"""What their drivers say names hosts, users and buckets, which are not their callers' business."""


def render(error: TunesmithError) -> JSONResponse:
    """An error as a response."""
    if isinstance(error, Unavailable) and error.code in _OF_THE_INSIDE:
        error = Unavailable(
            f"{_OF_THE_INSIDE[error.code]} is not available now. Try again in some seconds; if this"
            " stays, the administrator finds the reason in the gateway's log.",
            retry_after=error.retry_after,
            code=error.code,
        )
    headers = dict(error.headers)
    if isinstance(error, Unavailable | RateLimited) and error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if not may_retry(error):
        # The official SDK repeats 409, 429 and every 5xx by itself.
        headers["x-should-retry"] = "false"
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return ErrorResponse(error.body(), status_code=error.status, headers=headers)


def may_retry(error: TunesmithError) -> bool:
    """Whether the same request may succeed later, with nothing else changed."""
    if isinstance(error, RateLimited):
        return error.retry_after is not None
    return isinstance(error, Unavailable)


def unexpected(request_id: str) -> JSONResponse:
    """The answer to a fault of ours: nothing of its inside is shown."""
    return ErrorResponse(
        TunesmithError(
            "The server had an error while processing your request. The administrator finds it in"
            f" the logs by the request id {request_id}.",
            code="internal_error",
        ).body(),
        status_code=HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def install(app: FastAPI) -> None:
    """Make `app` render every error in OpenAI's shape."""

    @app.exception_handler(TunesmithError)
    async def _ours(_: Request, error: TunesmithError) -> JSONResponse:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("request failed", code=error.code, error=error.message)
        return render(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return render(_first_problem(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        response = render(_of_framework(request, error))
        response.status_code = error.status_code
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["allow"] = _allowed(app, request)
        return response


def _allowed(app: FastAPI, request: Request) -> str:
    """All methods of a path: FastAPI names those of its first route alone."""
    methods: set[str] = set()
    for route in app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods))


def _of_framework(request: Request, error: HTTPException) -> TunesmithError:
    asked = f"{request.method} {request.url.path}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(f"Unknown request URL: {asked}.", code="unknown_url")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return InvalidRequest(f"Not allowed method: {asked}.", code="method_not_allowed")
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge(str(error.detail))
    return InvalidRequest(str(error.detail))


def _first_problem(error: RequestValidationError) -> InvalidRequest:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(place) or None
    if first["type"] == "missing":
        return InvalidRequest(
            f"Missing required parameter: `{param}`.",
            param=param,
            code="missing_required_parameter",
        )
    if first["type"] == "extra_forbidden":
        return InvalidRequest(
            f"Unknown parameter: `{param}`.", param=param, code="unknown_parameter"
        )
    return InvalidRequest(
        f"Invalid value for `{param}`: {first['msg'].removeprefix('Value error, ')}."
        if param
        else f"Invalid body: {first['msg']}.",
        param=param,
        code="invalid_value",
    )
