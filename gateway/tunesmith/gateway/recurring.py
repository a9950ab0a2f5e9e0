"""Work that a gateway does again and again beside its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tunesmith.platform.domain.errors import TunesmithError

log = structlog.get_logger(__name__)


class Recurring:
    """`async with`: does `work` at once and then again, `seconds` after its end, until the block's.

    What database or storage deny is logged the first time, and tried again. A fault of ours is
    logged each time and does not end it.

    Args:
        name: in the logs: what is not done where it says so.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], *, seconds: float, name: str) -> None:
        self._work = work
        self._seconds = seconds
        self._name = name
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Recurring:
        self._task = asyncio.create_task(self._keep_on(), name=self._name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_on(self) -> None:
        while True:
            await self._once()
            await asyncio.sleep(self._seconds)

    async def _once(self) -> None:
        try:
            await self._work()
        except (TunesmithError, SQLAlchemyError) as error:
            if not self._failing:  # once, not every second
                log.warning("not done now, and tried again", work=self._name, error=str(error))
            self._failing = True
        except Exception:  # it is logged, and what recurs goes on
            log.exception("a fault in what recurs", work=self._name)
        else:
            self._failing = False
