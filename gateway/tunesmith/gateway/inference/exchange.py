"""One request to one engine, and its answer."""

from __future__ import annotations

from contextlib import ExitStack

import aiohttp

from tunesmith.gateway.engines.engine import Engine
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.models.catalogue import Target

from .errors import engine_lost

_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class Exchange:
    """An engine's answer whose head is here and whose body is to be read; to be closed.

    Closing it before its end closes the connection, by which vLLM aborts the generation.
    """

    def __init__(
        self, engine: Engine, response: aiohttp.ClientResponse, counted: ExitStack
    ) -> None:
        self.engine = engine
        self._response = response
        self._counted = counted
        self.status = response.status
        self.content_type = response.content_type
        self.body = response.content

    async def read(self) -> bytes:
        """All of the body.

        Raises:
            Unavailable: the engine ended before the body did.
        """
        try:
            return await self._response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise engine_lost(error) from error

    def close(self) -> None:
        """Let go of the engine; an answer that was read whole leaves its connection open."""
        self._counted.close()
        self._response.close()


async def ask(pool: EnginePool, target: Target, path: str, body: bytes) -> Exchange:
    """Send `body` to an engine that serves `target`.

    A connection that is refused has brought nothing to the engine, so another one is asked while
    there is time. What was sent is never sent again: the engine may have worked on it.

    Raises:
        Unavailable: no engine is up, or the one asked ended before its first byte.
    """
    while True:
        engine = await pool.acquire(target.base, target.digest)
        counted = ExitStack()
        counted.enter_context(engine.serving())
        try:
            return Exchange(engine, await _post(pool, engine, path, body), counted)
        except aiohttp.ClientConnectorError as error:
            counted.close()
            pool.refused(engine, error)
        except (aiohttp.ClientError, TimeoutError) as error:
            counted.close()
            engine.look_again.set()
            raise engine_lost(error) from error
        except BaseException:  # cancelled: the client has gone
            counted.close()
            raise


async def _post(pool: EnginePool, engine: Engine, path: str, body: bytes) -> aiohttp.ClientResponse:
    return await pool.session.post(engine.url + path, data=body, headers=_HEADERS)
