"""What an engine says went wrong, as the client should hear it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import structlog

from tunesmith.gateway.engines.answer import LARGEST
from tunesmith.gateway.models.catalogue import Target
from tunesmith.platform.domain.errors import InvalidRequest, NotFound, TunesmithError, Unavailable

from .asked import Asked

log = structlog.get_logger(__name__)

_NO_SUCH_ROUTE = "Not Found"
"""What vLLM's framework says where there is no such route."""

_STATUSES = frozenset(status.value for status in HTTPStatus)


class AdapterUnavailable(Unavailable):
    """The engine cannot find, or cannot load, the adapter of a model that exists (503)."""

    default_code = "adapter_unavailable"


class RefusedByEngine(InvalidRequest):
    """The engine refuses the request; its sentence, its status."""

    def __init__(self, message: str, status: int, param: str | None) -> None:
        super().__init__(message, param=param)
        if status in _STATUSES:
            self.status = HTTPStatus(status)


def engine_lost(error: Exception | str) -> Unavailable:
    """The engine ended before it answered."""
    log.warning("engine lost during a request", error=str(error))
    return Unavailable(
        "The engine was lost while it worked on this request. Try again in some seconds.",
        code="engine_unavailable",
    )


def engine_not_reached(error: Exception) -> Unavailable:
    """No engine took a connection, in several tries."""
    log.warning("engine not reached for a request", error=str(error))
    return Unavailable(
        "No engine took this request; they may be busy or restarting. Try again in some seconds.",
        code="engine_unavailable",
    )


def no_socket(error: Exception) -> Unavailable:
    """The gateway's process can open no connection more."""
    log.error("no socket left for a connection to an engine: raise `ulimit -n`", error=str(error))
    return Unavailable(
        "The gateway has too many connections open. Try again in some seconds.",
        code="gateway_busy",
    )


def answer_too_large() -> InvalidRequest:
    """An answer that is not streamed has more bytes than are kept."""
    return InvalidRequest(
        f"The answer has more than {LARGEST:,} bytes. Ask for less at once, or for a stream.",
        code="answer_too_large",
    )


def is_fault(status: int) -> bool:
    """Whether an engine's answer tells of a fault of the platform's, not of the request's.

    Redirections are none of vLLM's, and 401 and 403 are about the gateway's own access.
    """
    return (
        status < HTTPStatus.BAD_REQUEST
        or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )


def of_engine(status: int, body: bytes, target: Target, asked: Asked) -> TunesmithError:
    """An engine's error answer as an error of ours. Digests are replaced by the model's name."""
    message, param = _read(body)
    name = asked.name
    if status == HTTPStatus.NOT_FOUND and message == _NO_SUCH_ROUTE:
        # Newer engines have only the routes of what their base is made for.
        return NotFound(f"The engine of `{name}` does not serve this route.", code="not_served")
    if target.digest is not None:
        if status == HTTPStatus.NOT_FOUND:
            log.error("engine lacks an adapter", adapter=target.digest, said=message)
            return AdapterUnavailable(
                f"The engine could not find the weights of `{name}`. Try again in some seconds; if"
                " this stays, tell your administrator.",
                param="model",
            )
        if "was found but could not be loaded" in message:
            log.error("engine cannot load an adapter", adapter=target.digest, said=message)
            return AdapterUnavailable(
                f"The engine could not load the weights of `{name}`. Try again in some seconds; if"
                " this stays, tell your administrator.",
                param="model",
            )
        message = message.replace(target.digest, name)
    if is_fault(status):
        log.error("engine failed", status=status, said=message)
        return Unavailable(
            "The engine failed on this request. Try again in some seconds.", code="engine_error"
        )
    return RefusedByEngine(message, status, param)


def _read(body: bytes) -> tuple[str, str | None]:
    """Message and parameter of a vLLM error: nested in `error` now, flat in older versions."""
    try:
        value: Any = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:500] or "The engine refused the request.", None
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return str(error)[:500], None
    param = error.get("param")
    message = error.get("message") or error.get("detail") or "The engine refused the request."
    return str(message), param.removeprefix("body.") if isinstance(param, str) else None
