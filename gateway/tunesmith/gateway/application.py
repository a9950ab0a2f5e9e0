"""FastAPI's application, with what stands around its routes and what is answered before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .document import complete


class Gateway(FastAPI):
    """The gateway as an ASGI application.

    FastAPI has a place for middleware, inside of its own: an inference request would pass through
    it, and each chunk of a stream, for nothing.
    """

    _around: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or take part in the server's life."""
        if scope["type"] == "http" and self._around is not None:
            await self._around(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def surround(self, layer: Callable[[ASGIApp], ASGIApp]) -> None:
        """Put a layer around all that is there by now."""
        self._around = layer(self._around or super().__call__)

    def build_middleware_stack(self) -> ASGIApp:
        """FastAPI's own, but for its answer to faults of ours: `RequestContext` gives it."""
        stack = super().build_middleware_stack()
        assert isinstance(stack, ServerErrorMiddleware)
        return stack.app

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, completed."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema
