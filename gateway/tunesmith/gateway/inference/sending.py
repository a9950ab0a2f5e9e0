"""From a request to the engine that answers it: chosen, waited for, and asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from weakref import WeakKeyDictionary
from zlib import crc32

from tunesmith.gateway.engines.answer import AnswerLost
from tunesmith.gateway.engines.engine import Engine
from tunesmith.gateway.engines.http_client import (
    ConnectionFailed,
    EngineClient,
    NoSocket,
    NotAccepted,
)
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.fairness.fair_queue import FairQueue
from tunesmith.gateway.fairness.tenant_line import Priority
from tunesmith.gateway.models.catalogue import Target
from tunesmith.platform.domain.errors import Unavailable

from .errors import engine_lost, engine_not_reached, no_socket
from .exchange import Exchange

_PREFIX = 1024
"""Bytes of a prompt by which requests count as alike: longer than most system prompts' ids."""

_RETRY_AFTER = 5

_CONNECTS = 5
"""Connections that are tried for a request before it is refused: 10 s to an engine that stands
still with a full line of connections, as one does that loads an adapter or shares a core."""

_OF_EVERY_ENGINE = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
"""Routes of which 404 means that the model is not there: others an engine may not serve at all."""


@dataclass(slots=True)
class Message:
    """A request as an engine gets it.

    Attributes:
        headers: lines `name: value` with their ends.
        cost: tokens that it is thought to take.
        reached: whether an engine may have got it.
    """

    tenant_id: str
    target: Target
    path: str
    body: bytes
    headers: bytes
    cost: int
    priority: Priority
    reached: bool = False


class Sender:
    """Sends requests to engines, each tenant in its turn.

    Args:
        capacity: requests that an engine works on at once.
        queue_seconds: longest wait for a turn.
        adapter_seconds: longest wait for an engine to pull an adapter.
    """

    def __init__(
        self,
        pool: EnginePool,
        client: EngineClient,
        *,
        capacity: int,
        queue_seconds: float,
        adapter_seconds: float,
    ) -> None:
        self.pool = pool
        self._client = client
        self._capacity = capacity
        self._queue_seconds = queue_seconds
        self._adapter_seconds = adapter_seconds
        self._queues: WeakKeyDictionary[Engine, FairQueue] = WeakKeyDictionary()
        self._pulls: dict[tuple[str, str], asyncio.Task[bool]] = {}

    def queue_of(self, engine: Engine) -> FairQueue:
        """The line of requests that wait for their turn at an engine."""
        queue = self._queues.get(engine)
        if queue is None:
            queue = FairQueue(self._capacity, seconds=self._queue_seconds)
            self._queues[engine] = queue
        return queue

    async def send(self, message: Message) -> Exchange:
        """Have an engine that serves the message's target answer it.

        An engine that takes no connection has got nothing, so another one is asked while there is
        time. One that closes it before its answer's first byte, or that says 503, may have worked
        on the request; no byte of an answer was given out, and another is asked, once. The end of
        a connection that had been used before says little of the engine, which may just have
        closed an idle one: it is asked again over a new one, and that is the once. So is one that
        has just dropped the adapter.

        Raises:
            Unavailable: no engine is up or has room in time, or the one asked ended before its
                first byte.
        """
        target = message.target
        affinity = crc32(message.body[:_PREFIX], crc32(message.tenant_id.encode()))
        avoided: Engine | None = None
        asked_again = False
        connects_left = _CONNECTS
        while True:
            engine = await self.pool.acquire(
                target.base, target.digest, affinity=affinity, exclude=avoided
            )
            engine.entered(target.digest)
            try:
                exchange = await self._ask(engine, message, fresh=asked_again)
            except ConnectionFailed as error:
                engine.left(target.digest)
                avoided = self._if_other(engine, target)
                self._blame(engine, error, alone=avoided is None)
                connects_left -= 1
                if not connects_left:
                    raise engine_not_reached(error) from error
            except AnswerLost as error:
                engine.left(target.digest)
                may_be_well = error.reused and not error.begun
                avoided = None if may_be_well else self._if_other(engine, target)
                if not may_be_well:
                    self.pool.failed(engine)
                if asked_again or error.begun or not (may_be_well or avoided):
                    raise engine_lost(error) from error
                asked_again = True
            except BaseException:  # no turn came, or the client has gone
                engine.left(target.digest)
                raise
            else:
                if asked_again:
                    return exchange
                digest = target.digest
                dropped = exchange.status == HTTPStatus.NOT_FOUND and digest in engine.adapters
                if dropped and digest is not None and message.path in _OF_EVERY_ENGINE:
                    # It held the adapter and was told to drop it, by another gateway perhaps,
                    # while this request was on its way: it pulls it anew.
                    exchange.close(0)
                    engine.adapters.pop(digest, None)
                    asked_again = True
                    continue
                if exchange.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return exchange
                avoided = self._if_other(engine, target)
                if avoided is None:
                    return exchange
                exchange.close(0)
                self.pool.failed(engine)
                asked_again = True

    def _blame(self, engine: Engine, error: ConnectionFailed, *, alone: bool) -> None:
        """Tell the pool of an engine that took no connection; `alone`: no other serves its base.

        Raises:
            Unavailable: it is this process that could not make one.
        """
        if isinstance(error, NoSocket):
            raise no_socket(error) from error
        if not isinstance(error, NotAccepted):
            self.pool.refused(engine, error)
        elif not alone:
            # It may only stand still for a moment, in which others can have its requests. Where
            # there are none, nothing is gained by keeping requests from it.
            self.pool.failed(engine)

    async def _ask(self, engine: Engine, message: Message, *, fresh: bool) -> Exchange:
        queue = self._queues.get(engine) or self.queue_of(engine)
        turn = queue.try_enter(message.tenant_id, message.cost, message.priority)
        if turn is None:
            with self.pool.waiting.for_base(message.target.base):
                turn = await queue.enter(message.tenant_id, message.cost, message.priority)
        digest = message.target.digest
        try:
            if digest is not None and digest not in engine.adapters:
                await self._pull(engine, digest)
            message.reached = True
            answer = await self._client.post(
                engine.url, message.path, message.headers, message.body, fresh=fresh
            )
        except asyncio.CancelledError:
            # What the engine worked for a client that has gone is not known; it was not nothing.
            turn.leave(None if message.reached else 0)
            raise
        except BaseException:
            turn.leave(0)
            raise
        return Exchange(engine, digest, turn, answer)

    async def _pull(self, engine: Engine, digest: str) -> None:
        """Have `engine` load an adapter before it is asked, so that the wait for it is bounded.

        One that cannot be loaded is left to the request, whose answer says why.

        Raises:
            Unavailable: it took too long; the engine goes on with it.
        """
        key = engine.url, digest
        pull = self._pulls.get(key)
        if pull is None:
            pull = self._pulls[key] = asyncio.create_task(self.pool.warm(engine, digest))
            pull.add_done_callback(lambda _: self._pulls.pop(key, None))
        try:
            async with asyncio.timeout(self._adapter_seconds):
                await asyncio.shield(pull)
        except TimeoutError:
            raise Unavailable(
                f"The engine did not load the model's adapter within {self._adapter_seconds:g}"
                " seconds. It goes on loading it: try again in some seconds.",
                retry_after=_RETRY_AFTER,
                code="adapter_loading",
            ) from None

    def _if_other(self, engine: Engine, target: Target) -> Engine | None:
        """The engine, to be avoided, where there is another; else None."""
        return engine if any(e is not engine for e in self.pool.serving(target.base)) else None
