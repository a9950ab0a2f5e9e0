"""Routes whose JSON body may be left out: a rollback in a hurry is one call without one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from starlette.types import Message

from tunesmith.gateway.json_body import JsonRoute


class MayBeEmpty(JsonRoute):
    """A route that reads no body at all as `{}`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.body_field is not None:
            self.openapi_extra = {"requestBody": {"required": False}}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """`JsonRoute`'s handler, given `{}` where nothing was sent."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_filled(request: Request) -> Response:
            length = request.headers.get("content-length", "0").strip()
            if length == "0" and "transfer-encoding" not in request.headers:
                request = _filled(request)
            return await handle(request)

        return handle_filled


def _filled(request: Request) -> Request:
    headers = [pair for pair in request.scope["headers"] if pair[0] not in _REPLACED]
    headers.append((b"content-type", b"application/json"))

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    return Request({**request.scope, "headers": headers}, receive)


_REPLACED = (b"content-type", b"content-length")
