"""This gateway's sign of life, and its place among the gateways that live."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.recurring import Recurring
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.limits.budgets import forget_full
from tunesmith.platform.limits.gateways import ALONE, Place, gateway_ends, gateway_lives

log = structlog.get_logger(__name__)

BEAT_SECONDS = 3.0
_BEATS_PER_SWEEP = 1200
"""Once an hour, rows of budgets that are full are deleted."""


class LiveGateways:
    """Beats in the database while it is entered; keeps the last known place while that is away."""

    def __init__(self, database: Database, *, seconds: float = BEAT_SECONDS) -> None:
        self._database = database
        self._beating = Recurring(self.beat, seconds=seconds, name="beat")
        self._id = random_text()
        self._place = ALONE
        self._beats = 0

    async def __aenter__(self) -> LiveGateways:
        await self.beat()  # its place is known before the first request comes
        await self._beating.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._beating.__aexit__(kind, error, trace)
        with suppress(TunesmithError, SQLAlchemyError):  # it counts as gone in some seconds anyway
            await run_in_threadpool(self._end)

    def place(self) -> Place:
        """This gateway's place, as last known."""
        return self._place

    def share(self) -> float:
        """This gateway's part of every limit, as last known."""
        return 1.0 / self._place.gateways

    async def beat(self) -> None:
        """Beat once."""
        try:
            self._place = await run_in_threadpool(self._beat)
        except (TunesmithError, SQLAlchemyError) as error:
            log.warning("no sign of life written", error=str(error))

    def _beat(self) -> Place:
        with self._database.transaction() as session:
            if self._beats % _BEATS_PER_SWEEP == 0:
                forget_full(session)
            self._beats += 1
            return gateway_lives(session, self._id)

    def _end(self) -> None:
        with self._database.transaction() as session:
            gateway_ends(session, self._id)
