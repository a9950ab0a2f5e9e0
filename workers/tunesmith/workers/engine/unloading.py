"""Unloading an adapter frees its memory and, where it was deleted, its files.

vLLM's `/v1/unload_lora_adapter` forgets the adapter's name and leaves its weights in the engine
until others push them out (https://github.com/vllm-project/vllm/issues/54839, 0.32). So a deleted
model's weights would stay, and an adapter that the gateway drops would make no room. vLLM can
remove them, but one that is removed under a running request ends the engine: so the engine's loop,
which knows its requests, refuses that, and the server asks again.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger("vllm.tunesmith")

_SERVING = "vllm.entrypoints.openai.models.serving"
_CORE = "vllm.v1.engine.core"
_ASK_AGAIN_SECONDS = 0.2
_ASK_TIMES = 3000
FILES_AFTER_SECONDS = 3600.0
"""Files of a deleted adapter go so long after its name: a request that still has it may read them
again, and an engine that cannot ends. No request takes that long."""


def free_on_unload(remove_files: Callable[[str], None], sweep: Callable[[], None]) -> bool:
    """Have unloading remove weights and files, in whichever of vLLM's processes this is.

    Args:
        remove_files: of a digest, unless it is in storage; called in a thread.
        sweep: removes the files of all digests that are not in storage; called in a thread at the
            server's start.

    Returns:
        Whether this vLLM could be changed so; one that has none of these parts stays as it is.
    """
    serving: Any = sys.modules.get(_SERVING)
    core: Any = sys.modules.get(_CORE)
    done = False
    if serving is not None and hasattr(serving, "OpenAIServingModels"):
        _remove_after_unload(serving.OpenAIServingModels, remove_files)
        threading.Thread(target=sweep, name="sweep adapters", daemon=True).start()
        done = True
    if core is not None and hasattr(core, "EngineCore"):
        _refuse_while_in_use(core.EngineCore)
        done = True
    return done


class _IdOfName:
    """In place of vLLM's counter: a name that comes back has the id that it had.

    Two ids of one name in a batch end the engine, for a LoRARequest equals any of its name.
    """

    def __init__(self) -> None:
        self.resolving: contextvars.ContextVar[str | None] = contextvars.ContextVar(
            "resolving", default=None
        )
        self._new = itertools.count(1_000_000)
        self._ids: dict[str, int] = {}

    def inc(self, _: int) -> int:
        """An id for the adapter that is being resolved, or for one that is loaded by its path."""
        name = self.resolving.get()
        if name is None:
            return next(self._new)
        return self._ids.setdefault(name, next(self._new))


def _remove_after_unload(models: Any, remove_files: Callable[[str], None]) -> None:
    unload, resolve = models.unload_lora_adapter, models.resolve_lora
    ids = _IdOfName()
    tasks: set[asyncio.Task[None]] = set()

    @functools.wraps(resolve)
    async def resolve_with_same_id(self: Any, lora_name: str) -> Any:
        self.lora_id_counter = ids
        ids.resolving.set(lora_name)
        return await resolve(self, lora_name)

    @functools.wraps(unload)
    async def unload_and_remove(self: Any, request: Any) -> Any:
        name = request.lora_name
        loaded = self.lora_requests.get(name)
        answer = await unload(self, request)
        if loaded is not None and self.lora_requests.get(name) is not loaded:
            removed = await self.engine_client.remove_lora(loaded.lora_int_id)
            if not removed:
                _keep(tasks, _remove(self.engine_client, loaded.lora_int_id))
        loop = asyncio.get_running_loop()
        loop.call_later(FILES_AFTER_SECONDS, loop.run_in_executor, None, remove_files, name)
        return answer

    models.resolve_lora = resolve_with_same_id
    models.unload_lora_adapter = unload_and_remove


def _keep(tasks: set[asyncio.Task[None]], work: Any) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _remove(client: Any, lora_id: int) -> None:
    for _ in range(_ASK_TIMES):
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
        if lora_id not in await client.list_loras() or await client.remove_lora(lora_id):
            return
    log.error("adapter %d was in use for too long and is left to be evicted", lora_id)


def _refuse_while_in_use(core: Any) -> None:
    remove = core.remove_lora

    @functools.wraps(remove)
    def remove_unless_in_use(self: Any, lora_id: int) -> bool:
        for request in self.scheduler.requests.values():
            used = request.lora_request
            if used is not None and used.lora_int_id == lora_id:
                return False
        return bool(remove(self, lora_id))

    core.remove_lora = remove_unless_in_use
