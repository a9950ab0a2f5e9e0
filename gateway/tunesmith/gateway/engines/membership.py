"""Which engines there are: what all sources name, as they come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from .engine import Engine
from .sources import ListedSource, Source

log = structlog.get_logger(__name__)

FIND_SECONDS = 2.0
EMPTY_TIMES = 3
"""A source that names no engine any more is believed at the third time in a row: a name server or
an API server that restarts may say so of a fleet that is well."""


class Membership:
    """Keeps `engines`, a list of its owner's, as the sources say.

    An engine that no source names any more drains: it gets no new requests, and leaves the list
    when those in it have ended.

    Args:
        came: called with an engine that is new.
        changed: called when engines came, drain or went.
        find_seconds: time between two looks at the sources.
    """

    def __init__(
        self,
        engines: list[Engine],
        came: Callable[[Engine], None],
        changed: Callable[[], None],
        find_seconds: float = FIND_SECONDS,
    ) -> None:
        self._engines = engines
        self._came = came
        self._changed = changed
        self._find_seconds = find_seconds
        self._known: dict[Source, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._empty: dict[Source, int] = {}
        self.complete = False
        """Whether every source was asked at least once."""

    def take_listed(self, sources: Sequence[Source]) -> None:
        """The engines of the settings are there from the start."""
        for source in sources:
            if isinstance(source, ListedSource):
                self._told(source, source.urls, ())
        self.complete = len(self._known) == len(sources)
        self._apply()

    async def follow(self, sources: Sequence[Source]) -> None:
        """Ask the sources again and again, until cancelled."""
        while True:
            await self.ask_all(sources)
            await asyncio.sleep(self._find_seconds)

    async def ask_all(self, sources: Sequence[Source]) -> None:
        """Ask the sources once; where one does not answer, what it said last goes on counting."""
        await asyncio.gather(*(self._ask(source) for source in sources))
        self.complete = True
        self._apply()

    async def _ask(self, source: Source) -> None:
        try:
            ready, draining = await source.find()
        except (OSError, ValueError) as error:
            log.warning("engines not found", source=source.name, why=str(error))
            return
        self._told(source, ready, draining)

    def _told(self, source: Source, ready: Iterable[str], draining: Iterable[str]) -> None:
        told = tuple(ready), tuple(draining)
        if told[0] or told[1]:
            self._empty[source] = 0
        else:
            self._empty[source] = self._empty.get(source, 0) + 1
            if self._empty[source] < EMPTY_TIMES and source in self._known:
                return
        self._known[source] = told

    def _apply(self) -> None:
        ready = {
            url: source.server_name for source, (urls, _) in self._known.items() for url in urls
        }
        draining = {url for _, urls in self._known.values() for url in urls} - ready.keys()
        there = {engine.url for engine in self._engines}
        changed = False
        for url, name in ready.items():
            if url not in there:
                engine = Engine(url, name)
                self._engines.append(engine)
                self._came(engine)
                log.info("engine found", engine=url)
                changed = True
        for engine in list(self._engines):
            leaving = engine.url not in ready
            changed |= leaving != engine.leaving
            if leaving and not engine.leaving:
                log.info("engine drains", engine=engine.url)
            engine.leaving = leaving
            if not leaving:  # an address may be another service's by now
                engine.server_name = ready[engine.url]
            if leaving and engine.url not in draining and not engine.in_flight:
                self._engines.remove(engine)
                log.info("engine left", engine=engine.url)
                changed = True
        if changed:
            self._changed()
