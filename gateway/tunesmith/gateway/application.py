"""FastAPI's application, with what stands around its routes and what is answered before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
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

    def setup(self) -> None:
        """Serve the OpenAPI document. FastAPI's own route makes it in the event loop, where it
        holds up every stream for half a second, and writes it anew for each answer.
        """
        making = asyncio.Lock()
        made: list[bytes] = []

        async def document(_: Request) -> Response:
            async with making:
                if not made:
                    made.append(await run_in_threadpool(self._document))
            return Response(made[0], media_type="application/json")

        assert self.openapi_url is not None
        self.add_route(self.openapi_url, document, include_in_schema=False)

    def _document(self) -> bytes:
        return bytes(JSONResponse(self.openapi()).body)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, completed."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema
