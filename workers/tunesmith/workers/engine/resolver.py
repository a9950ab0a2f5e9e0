"""The plugin inside vLLM: an adapter's digest becomes a verified local directory.

Registered by the entry point `vllm.general_plugins`. vLLM asks it when a request names a model
that it does not know, under a lock per name; it then loads the adapter from the directory.
https://docs.vllm.ai/en/stable/features/lora/#dynamically-serving-lora-adapters

It also makes unloading free what was loaded: see `unloading`; and on CPU it guards vLLM's
operations: see `cpu_guard`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest

from tunesmith.platform.storage import CorruptAdapter, ObjectNotFound
from tunesmith.workers.engine.adapters_beside import AdaptersBeside
from tunesmith.workers.engine.adapters_here import Adapters, AdaptersHere, Places
from tunesmith.workers.engine.cpu_guard import guard_cpu_operations, guard_prompt_logits
from tunesmith.workers.engine.unloading import free_on_unload

log = logging.getLogger("vllm.tunesmith")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def register() -> None:
    """Called by vLLM in each of its processes."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        guard_cpu_operations()
        guard_prompt_logits()
    from vllm.lora.request import LoRARequest
    from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

    adapters = _adapters()
    free_on_unload(adapters.forget, adapters.sweep)

    class DigestResolver(LoRAResolver):  # type: ignore[misc]
        """Pulls `adapters/<digest>` from storage."""

        async def resolve_lora(
            self,
            base_model_name: str,  # noqa: ARG002 - the digest says which base it belongs to
            lora_name: str,
        ) -> LoRARequest | None:
            if not _DIGEST.fullmatch(lora_name):
                return None
            try:
                path = await asyncio.to_thread(adapters.fetch, lora_name)
            except ObjectNotFound:
                log.warning("adapter %s is not in storage", lora_name)
                return None
            except CorruptAdapter as error:
                log.error("adapter %s is refused: %s", lora_name, error)
                return None
            # vLLM replaces the id by one of its own counter.
            return LoRARequest(lora_name=lora_name, lora_int_id=1, lora_path=str(path))

    LoRAResolverRegistry.register_resolver("tunesmith", DigestResolver())


def _adapters() -> Adapters:
    """In vLLM's own image, the plugin comes in a folder with what it needs in `dependencies`."""
    root = Path(__file__).absolute().parents[3]
    dependencies = root / "dependencies"
    if dependencies.is_dir():
        return AdaptersBeside(root, dependencies)
    return AdaptersHere(Places.of(os.environ))
