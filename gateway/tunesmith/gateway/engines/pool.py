"""The pool: engines watched, one chosen for each request, adapters warmed and dropped."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from types import TracebackType
from typing import Any

import aiohttp
import structlog

from tunesmith.platform.domain.errors import Unavailable

from . import health
from .choice import choose
from .connection import open_session
from .engine import Engine

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
_RETRY_AFTER = 5
_WARM = aiohttp.ClientTimeout(total=60.0)
_UNLOAD = aiohttp.ClientTimeout(total=10.0)


class EnginePool:
    """The engines at `urls`; to be entered in the event loop that uses it.

    Args:
        wait_seconds: longest wait for an engine that may come up before a request is refused.
        keep_warm: how many adapters, the last used ones, a restarted engine gets back at once;
            also how many are remembered per engine.
        look_seconds: time between two looks at an engine.
    """

    def __init__(
        self,
        urls: Iterable[str],
        *,
        wait_seconds: float,
        keep_warm: int,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.engines = [Engine(url.rstrip("/")) for url in urls]
        self._wait_seconds = wait_seconds
        self._keep_warm = keep_warm
        self._look_seconds = look_seconds
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> EnginePool:
        self._session = open_session()
        for engine in self.engines:
            self._start(engine)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP client to the engines."""
        assert self._session is not None, "the pool was not entered"
        return self._session

    def serving(self, base: str) -> Sequence[Engine]:
        """Engines that are up and serve `base`."""
        return [engine for engine in self.engines if engine.is_up and base in engine.bases]

    async def acquire(self, base: str, digest: str | None) -> Engine:
        """The engine to ask for `base`, or for the adapter `digest` on it.

        Raises:
            Unavailable: none is up, and none came up while it waited.
        """
        deadline = monotonic() + self._wait_seconds
        while True:
            changed = self._changed
            engine = choose(self.serving(base), digest)
            if engine is not None:
                return engine
            left = deadline - monotonic()
            if left <= 0 or not any(engine.may_serve(base) for engine in self.engines):
                raise self._unavailable(base)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), left)

    def served(self, engine: Engine, base: str, digest: str) -> None:
        """Remember that `engine` answered for an adapter."""
        engine.served(digest, self._keep_warm)
        self._recent[base, digest] = None
        self._recent.move_to_end((base, digest))
        while len(self._recent) > self._keep_warm:
            self._recent.popitem(last=False)

    def refused(self, engine: Engine, error: Exception) -> None:
        """A request found `engine` gone: no other is sent there until it is seen to be well."""
        if engine.is_up:
            self._down(engine, f"It cannot be reached: {error}.")
        engine.look_again.set()

    async def warm(self, engine: Engine, digest: str) -> bool:
        """Have `engine` pull an adapter; whether it did."""
        pulled = await self._ask_one_token(engine, digest)
        if pulled:
            engine.served(digest, self._keep_warm)
        return pulled

    async def _ask_one_token(self, engine: Engine, model: str) -> bool:
        """Whether `engine` answers for a model, by its own name for it."""
        body = {"model": model, "prompt": "Hello", "max_tokens": 1}
        try:
            async with self.session.post(
                f"{engine.url}/v1/completions", json=body, timeout=_WARM
            ) as response:
                text = await response.text()
                if response.status == HTTPStatus.OK:
                    return True
                why = f"{response.status} {text[:200]}"
        except (TimeoutError, aiohttp.ClientError) as error:
            why = repr(error)
        log.warning("not warmed", engine=engine.url, model=model, why=why)
        return False

    async def unload(self, digest: str) -> None:
        """Have every engine drop an adapter. One that is down holds none."""
        for key in [key for key in self._recent if key[1] == digest]:
            del self._recent[key]
        await asyncio.gather(*(self._unload(e, digest) for e in self.engines if e.is_up))

    async def _unload(self, engine: Engine, digest: str) -> None:
        engine.adapters.pop(digest, None)
        try:
            async with self.session.post(
                f"{engine.url}/v1/unload_lora_adapter",
                json={"lora_name": digest},
                timeout=_UNLOAD,
            ) as response:
                text = await response.text()
                # Not loaded there: 404 now, 400 in older versions.
                if response.status not in (
                    HTTPStatus.OK,
                    HTTPStatus.NOT_FOUND,
                    HTTPStatus.BAD_REQUEST,
                ):
                    log.error("adapter not unloaded", engine=engine.url, why=text[:200])
        except (TimeoutError, aiohttp.ClientError) as error:
            log.error("adapter not unloaded", engine=engine.url, why=repr(error))

    def _start(self, engine: Engine) -> None:
        self._spawn(self._watch(engine), f"watch {engine.url}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, engine: Engine) -> None:
        while True:
            engine.look_again.clear()
            await self._look(engine)
            with suppress(TimeoutError):
                await asyncio.wait_for(engine.look_again.wait(), self._look_seconds)

    async def _look(self, engine: Engine) -> None:
        try:
            await health.look(self.session, engine.url)
            engine.unanswered = 0
            if not engine.is_up:
                self._up(engine, await health.ask_what_is_served(self.session, engine.url))
        except health.NotWell as error:
            self._down(engine, str(error))
        except health.NoAnswer as error:
            engine.unanswered += 1
            if engine.unanswered >= health.PATIENCE or not engine.is_up:
                self._down(engine, str(error))

    def _up(self, engine: Engine, served: health.Served) -> None:
        engine.came_up(served.bases, served.max_model_len)
        log.info("engine is up", engine=engine.url, bases=sorted(served.bases))
        self._signal()
        # Beside the traffic, not before it: the engine locks an adapter's name while it loads.
        lost = [digest for base, digest in self._recent if base in served.bases]
        self._spawn(self._warm_all(engine, sorted(served.bases), lost), f"warm {engine.url}")

    async def _warm_all(self, engine: Engine, bases: Sequence[str], digests: Sequence[str]) -> None:
        # An engine's very first answer takes seconds more than the next: nobody waits for it.
        for base in bases:
            await self._ask_one_token(engine, base)
        if not digests:
            return
        warmed = [await self.warm(engine, digest) for digest in reversed(digests)]
        log.info("adapters warmed", engine=engine.url, warmed=sum(warmed), of=len(warmed))

    def _down(self, engine: Engine, reason: str) -> None:
        if engine.is_up:
            log.warning("engine is down", engine=engine.url, why=reason)
        engine.went_down(reason)
        self._signal()

    def _signal(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _unavailable(self, base: str) -> Unavailable:
        if not self.engines:
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
