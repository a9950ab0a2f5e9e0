"""The pool: engines found and watched, one chosen for each request, adapters put where they go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any

import structlog

from tunesmith.platform.certificates import Authorities
from tunesmith.platform.domain.errors import Unavailable

from .choice import Router
from .connection import EngineSession
from .engine import Engine
from .membership import Membership
from .placement import Placement
from .residency import AdapterLoad, Residency, Unloaded
from .sources import ListedSource, Source, sources_of
from .traffic import Traffic
from .trust import EngineTrust
from .waiting import Waiting
from .watch import Watcher

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
_RETRY_AFTER = 5
_PLAN_SECONDS = 1.0


class EnginePool:
    """The engines of the setting `engines`; to be entered in the event loop that uses it.

    Args:
        entries: URLs, `dns://NAME:PORT`, `kubernetes://NAMESPACE/SERVICE:PORT`; with TLS
            `https://`, `dns+https://`, `kubernetes+https://`.
        wait_seconds: longest wait for an engine that may come up before a request is refused.
        slots: distinct adapters in one batch of an engine.
        holds: adapters in an engine's memory.
        makes_room: have full engines drop what is worth least before they pull. For engines whose
            unload frees memory and refuses what is in use; vLLM's own does neither (0.32).
        look_seconds: time between two looks at an engine.
        sources: instead of those that `entries` name.
        adapter_loaded: told of every adapter that an engine was told to pull.
        authorities: those that sign engines' certificates; the system's where not given.

    Raises:
        ValueError: an entry names no engines.
    """

    def __init__(
        self,
        entries: Iterable[str],
        *,
        wait_seconds: float,
        slots: int,
        holds: int,
        makes_room: bool = False,
        look_seconds: float = LOOK_SECONDS,
        sources: Sequence[Source] | None = None,
        adapter_loaded: AdapterLoad | None = None,
        authorities: Authorities | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.engines: list[Engine] = []
        """Changed in place as engines come and go."""
        self.trust = EngineTrust(authorities, self.engines)
        self.sources = sources_of(entries) if sources is None else sources
        self.waiting = Waiting()
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._makes_room = makes_room
        self._holds = max(holds, slots)
        self._traffic = Traffic(self.engines, clock)
        self._router = Router(self._traffic, slots)
        self._placement = Placement(self._traffic, self._holds)
        self._residency = Residency(lambda: self.session, self._holds, clock, adapter_loaded)
        self._watcher = Watcher(lambda: self.session, self._up, self._signal, look_seconds)
        self._membership = Membership(self.engines, self._came, self._signal)
        self._watching: dict[Engine, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._crowded = asyncio.Event()
        self._session: EngineSession | None = None
        self._membership.take_listed(self.sources)

    async def __aenter__(self) -> EnginePool:
        self._session = EngineSession(self.trust)
        for engine in self.engines:
            self._came(engine)
        self._spawn(self._membership.follow(self.sources), "follow sources of engines")
        self._spawn(self._plan(), "plan adapters")
        if self._makes_room:
            self._spawn(self._make_room(), "make room for adapters")
        self._spawn(self._sweep(), "confirm deletions")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.session.close()

    @property
    def session(self) -> EngineSession:
        """The HTTP client to the engines."""
        assert self._session is not None, "the pool was not entered"
        return self._session

    def serving(self, base: str) -> Sequence[Engine]:
        """Engines that are up and take requests for `base`."""
        return self._traffic.fleet(base)

    def try_acquire(
        self,
        base: str,
        digest: str | None,
        *,
        affinity: int | None = None,
        exclude: Engine | None = None,
    ) -> Engine | None:
        """The engine to ask for `base`, or for the adapter `digest` on it; None: there is none now.

        The caller counts the request with `engine.serving(digest)` before it waits for anything,
        and tells its end with `succeeded`, `failed` or `refused`.

        Args:
            affinity: a hash of tenant and prompt prefix; equal ones go to the same of equal homes.
            exclude: an engine that failed this request already.
        """
        found = self._router.choose(base, digest, affinity=affinity, exclude=exclude)
        if self._router.crowded:
            self._crowded.set()
        return found

    async def acquire(
        self,
        base: str,
        digest: str | None,
        *,
        affinity: int | None = None,
        exclude: Engine | None = None,
    ) -> Engine:
        """As `try_acquire`; where no engine takes the request, wait a little for one that may.

        Raises:
            Unavailable: none is up, and none came up while it waited.
        """
        engine = self.try_acquire(base, digest, affinity=affinity, exclude=exclude)
        if engine is not None:
            return engine
        with self.waiting.for_base(base):
            return await self._wait_for_engine(base, digest, affinity, exclude)

    async def _wait_for_engine(
        self, base: str, digest: str | None, affinity: int | None, exclude: Engine | None
    ) -> Engine:
        deadline = self._clock() + self._wait_seconds
        if exclude is not None and not exclude.is_up:
            exclude = None  # when it is up, it has been restarted
        while True:
            changed = self._changed
            engine = self.try_acquire(base, digest, affinity=affinity, exclude=exclude)
            if engine is not None:
                return engine
            left = deadline - self._clock()
            if left <= 0 or not self._may_serve(base, exclude):
                raise self._unavailable(base)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._until_a_try(base, left))):
                    await changed.wait()

    def _may_serve(self, base: str, exclude: Engine | None) -> bool:
        # A source that engines come from may have one soon, as where they were scaled to none.
        return (
            not self._membership.complete
            or any(not isinstance(source, ListedSource) for source in self.sources)
            or any(engine.may_serve(base) for engine in self.engines if engine is not exclude)
        )

    def _until_a_try(self, base: str, left: float) -> float:
        """Seconds until a breaker lets a request through."""
        tries = [engine.breaker.next_try - self._clock() for engine in self.serving(base)]
        return max(0.01, min((wait for wait in tries if wait > 0), default=left))

    def served(self, engine: Engine, base: str, digest: str) -> None:
        """Remember that `engine` answered for an adapter on `base`."""
        if engine.is_up and base in engine.bases:  # else it has restarted since
            engine.served(digest, self._holds)

    def succeeded(self, engine: Engine) -> None:
        """`engine` answered a request, be it with a refusal of what was asked."""
        engine.breaker.succeeded()

    def failed(self, engine: Engine) -> None:
        """A request to `engine` ended in a 5xx, a reset or a timeout."""
        was = engine.breaker.state
        engine.breaker.failed(self._clock())
        engine.look_again.set()
        if engine.breaker.state is not was:
            log.warning(
                "engine fails requests", engine=engine.url, failures=engine.breaker.failures
            )

    def refused(self, engine: Engine, error: Exception) -> None:
        """A request found `engine` gone: no other is sent there until it is seen to be well."""
        if engine.is_up:
            self._watcher.down(engine, f"It cannot be reached: {error}.")
        engine.look_again.set()

    async def warm(self, engine: Engine, digest: str) -> bool:
        """Have `engine` pull an adapter; whether it did."""
        return await self._residency.pull(engine, digest)

    async def unload(self, digest: str) -> Unloaded:
        """Have every engine drop an adapter that was deleted.

        Engines that do not confirm are asked again until they do, those that are down once they
        are up.
        """
        self._traffic.forget(digest)
        return await self._residency.delete(digest, self.engines)

    def _came(self, engine: Engine) -> None:
        if self._session is not None and engine not in self._watching:
            task = self._spawn(self._watcher.watch(engine), f"watch {engine.url}")
            self._watching[engine] = task

    def _up(self, engine: Engine) -> None:
        self._signal()
        # Beside the traffic, not before it: the engine locks an adapter's name while it loads.
        self._spawn(self._warm_up(engine), f"warm {engine.url}")

    async def _warm_up(self, engine: Engine) -> None:
        lost = self._placement.lost(engine)
        # An engine's very first answer takes seconds more than the next: nobody waits for it.
        for base in sorted(engine.bases):
            await self._residency.ask_one_token(engine, base)
        await self._residency.pull_all(lost)

    async def _plan(self) -> None:
        while True:
            await asyncio.sleep(_PLAN_SECONDS)
            pulls = self._placement.plan()
            if pulls:
                self._spawn(self._residency.pull_all(pulls), "warm homes")
                self._router.crowded.update(pull.engine for pull in pulls)
                self._crowded.set()
            for engine in [e for e in self._watching if e not in self.engines]:
                self._watching.pop(engine).cancel()

    async def _make_room(self) -> None:
        while True:
            await self._crowded.wait()
            self._crowded.clear()
            crowded = list(self._router.crowded)
            self._router.crowded.clear()
            drops = [drop for engine in crowded for drop in self._placement.victims(engine)]
            if drops:
                self._spawn(self._residency.drop_all(drops), "make room")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_PLAN_SECONDS)
            await self._residency.sweep(self.engines)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error(
                "a task of the engine pool died", task=task.get_name(), exc_info=task.exception()
            )

    def _signal(self) -> None:
        self._traffic.changed()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _unavailable(self, base: str) -> Unavailable:
        if not self.sources:
            return Unavailable(
                "No engine is configured, so no model can answer. The administrator names engines"
                " with TUNESMITH_ENGINES.",
                code="engine_unavailable",
            )
        return Unavailable(
            f"No engine serves {base} right now; it may be restarting. Try again in some seconds.",
            retry_after=_RETRY_AFTER,
            code="engine_unavailable",
        )
