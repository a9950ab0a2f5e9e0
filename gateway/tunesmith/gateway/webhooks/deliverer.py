"""The task of a gateway that sends what is in the outbox; several gateways share the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.database import Database
from tunesmith.platform.database.clock import now
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.webhooks import deliveries, endpoints
from tunesmith.platform.webhooks.deliveries import Due

from .sender import TIMEOUT_SECONDS, Outcome, WebhookSender

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often the outbox is looked at: an event is sent within about this time."""

SENDING_AT_ONCE = 32
"""Most deliveries of one gateway that are under way."""

LEASE_SECONDS = 4 * TIMEOUT_SECONDS
"""Longer than any attempt takes: what is still claimed then has lost its gateway."""

_SWEEP_SECONDS = 3600.0


class WebhookDeliverer:
    """Claims what is due, sends it, and writes down what came of it. To be entered once.

    Args:
        attempted: told of every attempt's outcome: `taken`, `refused` or `gone`.
    """

    def __init__(
        self,
        database: Database,
        sender: WebhookSender,
        *,
        poll_seconds: float = POLL_SECONDS,
        attempted: Callable[[str], None] | None = None,
    ) -> None:
        self._attempted = attempted
        self._database = database
        self._sender = sender
        self._turns = Recurring(self._turn, seconds=poll_seconds, name="send webhooks")
        self._sending: dict[asyncio.Task[None], Due] = {}
        self._sweep_at = monotonic()

    async def __aenter__(self) -> WebhookDeliverer:
        await self._turns.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._turns.__aexit__(kind, error, trace)
        # Whether an endpoint has what is under way now is unknown, so it gets it again.
        tasks, unfinished = [*self._sending], list(self._sending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TunesmithError, SQLAlchemyError):  # its lease ends by itself
            await run_in_threadpool(self._give_back, unfinished)

    async def _turn(self) -> None:
        if monotonic() >= self._sweep_at:
            self._sweep_at = monotonic() + _SWEEP_SECONDS
            await run_in_threadpool(self._sweep)
        room = SENDING_AT_ONCE - len(self._sending)
        if room <= 0:
            return
        for due, signed_by in await run_in_threadpool(self._claim, room):
            task = asyncio.create_task(self._deliver(due, signed_by))
            self._sending[task] = due
            task.add_done_callback(self._sending.pop)

    async def _deliver(self, due: Due, signed_by: list[str]) -> None:
        outcome = await self._sender.send(due.endpoint.url, signed_by, due.payload)
        if self._attempted is not None:
            self._attempted(
                "taken" if outcome.is_taken else "gone" if outcome.is_gone else "refused"
            )
        try:
            await run_in_threadpool(self._write, due, outcome)
        except (TunesmithError, SQLAlchemyError) as error:
            log.warning("webhook sent but not noted; it is sent again", error=str(error))
        log.info(
            "webhook sent" if outcome.is_taken else "webhook not taken",
            event_id=due.event_id,
            endpoint=due.endpoint.id,
            status=outcome.status,
            why=outcome.why,
        )

    def _claim(self, room: int) -> list[tuple[Due, list[str]]]:
        with self._database.reading() as session:  # an idle gateway takes no lock
            if not deliveries.is_any_due(session):
                return []
        with self._database.transaction() as session:
            claimed = deliveries.claim_due(session, room, LEASE_SECONDS)
            moment = now(session)
            return [(due, endpoints.secrets_of(due.endpoint, moment)) for due in claimed]

    def _write(self, due: Due, outcome: Outcome) -> None:
        with self._database.transaction() as session:
            if outcome.is_taken:
                deliveries.taken(session, due.claim, outcome.status or 0)
            elif outcome.is_gone:
                endpoints.answered_gone(session, due.claim)
            else:
                deliveries.refused(session, due.claim, outcome.status, outcome.why or "")

    def _give_back(self, unfinished: list[Due]) -> None:
        if not unfinished:
            return
        with self._database.transaction() as session:
            for due in unfinished:
                deliveries.give_back(session, due.claim)

    def _sweep(self) -> None:
        with self._database.transaction() as session:
            deliveries.forget_old(session)
