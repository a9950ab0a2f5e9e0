"""Adapters in engines: pulled before they are needed, dropped, and confirmed to be gone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import aiohttp
import structlog

from .connection import EngineSession
from .engine import Engine
from .placement import Drop, Pull

log = structlog.get_logger(__name__)

_WARM = aiohttp.ClientTimeout(total=60.0)
_UNLOAD = aiohttp.ClientTimeout(total=10.0)
AGAIN_SECONDS = 2.0
"""A request that was under way when its model was deleted, here or in another gateway, may have an
engine pull the adapter once more; names are believed for one second. So it is unloaded again."""
_REMEMBERED = 10_000


class AdapterLoad(Protocol):
    """Told of an adapter's pull: the engine's base, its seconds, and whether it is there now."""

    def __call__(self, base: str, seconds: float, *, loaded: bool) -> None: ...


@dataclass(frozen=True)
class Unloaded:
    """Engines that confirmed, and those that are up and did not yet: they are asked again."""

    confirmed: Sequence[str]
    waiting: Sequence[str]


@dataclass
class _Deletion:
    """Times that each engine has still to confirm it, and when the second time is due."""

    left: dict[Engine, int]
    again_at: float


class Residency:
    """What is asked of engines about adapters.

    Args:
        session: the HTTP client to engines.
        keep: adapters that an engine holds.
        clock: seconds, monotonic.
        loaded: told of every adapter that an engine was told to pull.
    """

    def __init__(
        self,
        session: Callable[[], EngineSession],
        keep: int,
        clock: Callable[[], float],
        loaded: AdapterLoad | None = None,
    ) -> None:
        self._session = session
        self._loaded = loaded
        self._clock = clock
        self._keep = keep
        self._dropping: dict[tuple[Engine, str], asyncio.Task[bool]] = {}
        self._deletions: OrderedDict[str, _Deletion] = OrderedDict()

    async def ask_one_token(self, engine: Engine, model: str) -> bool:
        """Whether `engine` answers for a model, by its own name for it."""
        body = {"model": model, "prompt": "Hello", "max_tokens": 1}
        try:
            async with self._session().post(
                engine.url, "/v1/completions", json=body, timeout=_WARM
            ) as response:
                text = await response.text()
                if response.status == HTTPStatus.OK:
                    return True
                why = f"{response.status} {text[:200]}"
        except (TimeoutError, aiohttp.ClientError) as error:
            why = repr(error)
        log.warning("not warmed", engine=engine.url, model=model, why=why)
        return False

    async def pull(self, engine: Engine, digest: str) -> bool:
        """Have `engine` pull an adapter; whether it did. Nobody else pulls it there meanwhile."""
        engine.pulling.add(digest)
        try:
            dropping = self._dropping.get((engine, digest))
            if dropping is not None:
                # vLLM says 404 to a request that an unload overtakes.
                await asyncio.wait([dropping])
            began = self._clock()
            pulled = await self.ask_one_token(engine, digest)
        finally:
            engine.pulling.discard(digest)
        if not pulled:
            engine.load_failures += 1
        if self._loaded is not None:
            base = min(engine.bases, default="unknown")
            self._loaded(base, self._clock() - began, loaded=pulled)
        if pulled:
            engine.served(digest, self._keep)
        return pulled

    async def pull_all(self, pulls: Iterable[Pull]) -> None:
        """One after the other in an engine, all engines at once."""
        by_engine: dict[Engine, list[str]] = {}
        for pull in pulls:
            by_engine.setdefault(pull.engine, []).append(pull.digest)
        await asyncio.gather(*(self._pull_in_turn(e, digests) for e, digests in by_engine.items()))

    async def _pull_in_turn(self, engine: Engine, digests: Sequence[str]) -> None:
        engine.pulling.update(digests)  # none of them is planned twice
        try:
            for digest in digests:
                await self.pull(engine, digest)
        finally:
            engine.pulling.difference_update(digests)

    async def drop_all(self, drops: Sequence[Drop]) -> None:
        """Have engines drop adapters to make room; one that does not evicts for itself."""
        for drop in drops:  # from now on, nothing is sent there because it is held
            drop.engine.adapters.pop(drop.digest, None)
            drop.engine.drops += 1
        await asyncio.gather(*(self._drop(drop.engine, drop.digest) for drop in drops))

    async def _drop(self, engine: Engine, digest: str) -> None:
        unloading = asyncio.create_task(self._unload(engine, digest))
        self._dropping[engine, digest] = unloading
        try:
            await unloading
        finally:
            self._dropping.pop((engine, digest), None)

    async def delete(self, digest: str, engines: Iterable[Engine]) -> Unloaded:
        """Have all engines drop an adapter for good; `sweep` goes on with those that did not.

        One that is down holds none, but it may only have been out of reach: it is asked when it
        is up.
        """
        deletion = _Deletion(dict.fromkeys(engines, 2), self._clock() + AGAIN_SECONDS)
        self._deletions[digest] = deletion
        while len(self._deletions) > _REMEMBERED:
            self._deletions.popitem(last=False)
        for engine in deletion.left:
            engine.adapters.pop(digest, None)
        await self._confirm(digest, deletion)
        return Unloaded(
            confirmed=[engine.url for engine, left in deletion.left.items() if left < 2],
            waiting=[e.url for e, left in deletion.left.items() if e.is_up and left == 2],
        )

    async def sweep(self, engines: Iterable[Engine]) -> None:
        """Ask those of `engines` again that have not confirmed a deletion; others are forgotten."""
        there = set(engines)
        for digest, deletion in list(self._deletions.items()):
            deletion.left = {e: left for e, left in deletion.left.items() if left and e in there}
            if deletion.left:
                await self._confirm(digest, deletion)
            else:
                self._deletions.pop(digest, None)

    async def _confirm(self, digest: str, deletion: _Deletion) -> None:
        least = 1 if self._clock() >= deletion.again_at else 2
        asked = [engine for engine, left in deletion.left.items() if engine.is_up and left >= least]
        answers = await asyncio.gather(*(self._unload(engine, digest) for engine in asked))
        for engine, gone in zip(asked, answers, strict=True):
            deletion.left[engine] -= gone

    async def _unload(self, engine: Engine, digest: str) -> bool:
        """Whether `engine` confirms that it does not hold the adapter any more."""
        try:
            async with self._session().post(
                engine.url,
                "/v1/unload_lora_adapter",
                json={"lora_name": digest},
                timeout=_UNLOAD,
            ) as response:
                text = await response.text()
                # Not loaded there: 404 now, 400 in older versions.
                if response.status in (
                    HTTPStatus.OK,
                    HTTPStatus.NOT_FOUND,
                    HTTPStatus.BAD_REQUEST,
                ):
                    return True
                why = f"{response.status} {text[:200]}"
        except (TimeoutError, aiohttp.ClientError) as error:
            why = repr(error)
        log.error("adapter not unloaded", engine=engine.url, adapter=digest, why=why)
        return False
