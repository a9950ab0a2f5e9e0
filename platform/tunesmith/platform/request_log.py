"""One line for every request that was answered, written without a detour.

A line through structlog and `logging` takes longer than all else that a gateway does for a short
generation; these lines have the same form, and always the same fields.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TextIO

import structlog

from tunesmith.platform.settings import Settings

RequestLog = Callable[[str, str, int, float, str, str | None, bool, str | None], None]
"""Called with method, path, status, seconds, request id, tenant id, whether it is of no news (a
probe of health: written only where the level is debug), and the trace's id where there is one."""

_log = structlog.get_logger("tunesmith.request")
_quote = json.encoder.encode_basestring_ascii


def structured_request_log(  # noqa: PLR0917 - a line has its fields in one order
    method: str,
    path: str,
    status: int,
    seconds: float,
    request_id: str,
    tenant_id: str | None,
    quiet: bool,
    trace_id: str | None = None,
) -> None:
    """A line by structlog, as everything else is logged."""
    write = _log.debug if quiet else _log.info
    write(
        "request",
        method=method,
        path=path,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        request_id=request_id,
        **({} if tenant_id is None else {"tenant_id": tenant_id}),
        **({} if trace_id is None else {"trace_id": trace_id}),
    )


def json_request_log(settings: Settings, stream: TextIO, *, process: str) -> RequestLog:
    """A line of JSON on `stream`, for the settings' level."""
    level = settings.log_level
    if level not in ("debug", "info"):
        return lambda *_: None
    ending = f', "logger": "tunesmith.request", "level": "info", "process": {_quote(process)}}}\n'
    second, stamp = 0, ""

    def write(  # noqa: PLR0917 - as above
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_id: str,
        tenant_id: str | None,
        quiet: bool,
        trace_id: str | None = None,
    ) -> None:
        nonlocal second, stamp
        if quiet and level != "debug":
            return
        now = time.time()
        if int(now) != second:
            second = int(now)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        tenant = "" if tenant_id is None else f', "tenant_id": {_quote(tenant_id)}'
        trace = "" if trace_id is None else f', "trace_id": {_quote(trace_id)}'
        stream.write(
            f'{{"event": "request", "method": {_quote(method)}, "path": {_quote(path)},'
            f' "status": {status}, "milliseconds": {seconds * 1000:.1f},'
            f' "request_id": {_quote(request_id)}{tenant}{trace},'
            f' "timestamp": "{stamp}.{int(now % 1 * 1_000_000):06d}Z"{ending}'
        )

    return write
