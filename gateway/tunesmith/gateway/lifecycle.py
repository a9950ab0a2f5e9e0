"""The gateway's life as its clients see it: it listens at once, serves when it can, and drains.

Around the application. While that starts, and waits for its database perhaps, the process is alive
and not ready, and all else is 503 with Retry-After: nothing that looks after processes needs to
know how long a start may take. While the process drains it serves, says that it is not ready, and
closes each connection with the answer on it, so that its clients go to another gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import structlog
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.gateway.errors import render
from tunesmith.gateway.health.schemas import Health, Part, Readiness
from tunesmith.platform.domain.errors import TunesmithError, Unavailable

log = structlog.get_logger(__name__)

PART = "gateway"
"""What is not ready while the gateway starts or drains."""

_CLOSE = (b"connection", b"close")
_RETRY_SECONDS = 2


class Phase(Enum):
    """Where in its life a gateway is."""

    STARTING = auto()
    SERVING = auto()
    DRAINING = auto()


class Lifecycle:
    """`app`, for a server that begins to listen before it has started.

    Args:
        live: the application's lifespan, which gives the state of its requests.

    Attributes:
        failed: whether the application could not start; `on_failure` is called then.
    """

    def __init__(self, app: ASGIApp, live: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self.app = app
        self.phase = Phase.STARTING
        self.failed = False
        self.on_failure: Callable[[], None] = lambda: None
        self._live = live
        self._ending = asyncio.Event()

    def drain(self) -> None:
        """Serve, but be ready for no more."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.DRAINING

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle a request, or the server's own start and end."""
        if scope["type"] == "lifespan":
            return self._be(scope, receive, send)
        if self.phase is Phase.SERVING:
            return self.app(scope, receive, send)  # nothing in a request's way
        if self.phase is Phase.STARTING:
            return _not_started(scope)(scope, receive, send)
        return self._last(scope, receive, send)

    async def _last(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _CLOSE]
            await send(message)

        if scope["path"] == "/readyz":
            reason = "It is ending: it serves what comes, and is to get no more."
            await _not_ready(reason)(scope, receive, send_and_close)
        else:
            await self.app(scope, receive, send_and_close)

    async def _be(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        living = asyncio.create_task(self._start(scope["state"]), name="the gateway's parts")
        await receive()
        if self.phase is Phase.STARTING:
            living.cancel()
        self._ending.set()
        await asyncio.wait([living])
        if not living.cancelled():
            living.result()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, state: dict[str, Any]) -> None:
        try:
            async with self._live() as parts:
                state.update(parts)
                self.phase = Phase.SERVING
                log.info("ready to serve")
                await self._ending.wait()
        except Exception as error:
            if self.phase is not Phase.STARTING:
                raise
            self.failed = True
            if isinstance(error, TunesmithError):
                log.error("the gateway cannot start", error=error.message)
            else:
                log.exception("the gateway cannot start")
            self.on_failure()


def _not_started(scope: Scope) -> Response:
    if scope["path"] == "/healthz":
        return JSONResponse(Health().model_dump())
    reason = "The gateway is starting."
    if scope["path"] == "/readyz":
        return _not_ready(reason)
    return render(Unavailable(reason, retry_after=_RETRY_SECONDS, code="gateway_starting"))


def _not_ready(reason: str) -> Response:
    told = Readiness(ready=False, parts={PART: Part(ready=False, reason=reason)}, engines=[])
    return JSONResponse(told.model_dump(), HTTPStatus.SERVICE_UNAVAILABLE)
