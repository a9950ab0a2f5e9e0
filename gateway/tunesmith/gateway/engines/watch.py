"""Watching engines: are they well, what do they serve, how busy are they."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from . import health
from .connection import EngineSession
from .engine import Engine
from .load import ask_load

log = structlog.get_logger(__name__)


class Watcher:
    """Looks at each engine in turn with its own loop.

    Args:
        session: the HTTP client to engines.
        up: called when an engine came up.
        changed: called when one went down.
        look_seconds: time between two looks at an engine.
    """

    def __init__(
        self,
        session: Callable[[], EngineSession],
        up: Callable[[Engine], None],
        changed: Callable[[], None],
        look_seconds: float,
    ) -> None:
        self._session = session
        self._up = up
        self._changed = changed
        self._look_seconds = look_seconds

    async def watch(self, engine: Engine) -> None:
        """Look at `engine` until cancelled; at once where `look_again` is set."""
        while True:
            engine.look_again.clear()
            await self.look(engine)
            # Not wait_for: in Python 3.11 it loses a cancellation that comes with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await engine.look_again.wait()

    async def look(self, engine: Engine) -> None:
        """Look at `engine` once."""
        session = self._session()
        try:
            await health.look(session, engine.url)
            engine.unanswered = 0
            if not engine.is_up:
                self._came_up(engine, await health.ask_what_is_served(session, engine.url))
            engine.reported(await ask_load(session, engine.url))
        except health.NotWell as error:
            self.down(engine, str(error))
        except health.NoAnswer as error:
            engine.unanswered += 1
            if engine.unanswered >= health.PATIENCE or not engine.is_up:
                self.down(engine, str(error))

    def down(self, engine: Engine, reason: str) -> None:
        """`engine` gets no requests until it is seen to be well."""
        if engine.is_up:
            log.warning("engine is down", engine=engine.url, why=reason)
        engine.went_down(reason)
        self._changed()

    def _came_up(self, engine: Engine, served: health.Served) -> None:
        engine.came_up(served.bases, served.max_model_len)
        log.info("engine is up", engine=engine.url, bases=sorted(served.bases))
        self._up(engine)
