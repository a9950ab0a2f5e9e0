"""Unloading an adapter frees its weights, never under a running request, and its files later."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tunesmith.workers.engine.unloading import free_on_unload

DIGEST = "ab" * 32


class Core:
    """vLLM's engine core, as far as the plugin looks."""

    def __init__(self) -> None:
        self.scheduler = SimpleNamespace(requests={})
        self.held: set[int] = set()

    def remove_lora(self, lora_id: int) -> bool:
        had = lora_id in self.held
        self.held.discard(lora_id)
        return had


class Counter:
    def inc(self, by: int) -> int:
        raise AssertionError("the server's own counter gives a name another id")


class Models:
    """vLLM's server of models, as far as the plugin looks."""

    core: Core

    def __init__(self) -> None:
        self.lora_requests: dict[str, Any] = {}
        self.lora_id_counter: Any = Counter()
        self.engine_client = self

    async def resolve_lora(self, lora_name: str) -> Any:
        loaded = SimpleNamespace(lora_name=lora_name, lora_int_id=self.lora_id_counter.inc(1))
        self.lora_requests[lora_name] = loaded
        self.core.held.add(loaded.lora_int_id)
        return loaded

    async def unload_lora_adapter(self, request: Any) -> str:
        del self.lora_requests[request.lora_name]
        return "Success"

    async def remove_lora(self, lora_id: int) -> bool:
        return self.core.remove_lora(lora_id)

    async def list_loras(self) -> set[int]:
        return self.core.held


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    serving: Any = ModuleType("serving")
    core: Any = ModuleType("core")
    serving.OpenAIServingModels = type("OpenAIServingModels", (Models,), dict(vars(Models)))
    core.EngineCore = type("EngineCore", (Core,), dict(vars(Core)))
    monkeypatch.setitem(sys.modules, "vllm.entrypoints.openai.models.serving", serving)
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.core", core)
    swept: list[bool] = []
    assert free_on_unload(lambda _: None, lambda: swept.append(True))
    made: Models = serving.OpenAIServingModels()
    made.core = core.EngineCore()
    return made


def test_weights_go_with_the_name_and_a_name_that_comes_back_has_its_id(models: Models) -> None:
    async def journey() -> None:
        first = await models.resolve_lora(DIGEST)
        await models.unload_lora_adapter(SimpleNamespace(lora_name=DIGEST))
        assert models.core.held == set()
        again = await models.resolve_lora(DIGEST)
        other = await models.resolve_lora("cd" * 32)
        assert again.lora_int_id == first.lora_int_id != other.lora_int_id

    asyncio.run(journey())


def test_weights_stay_while_a_request_uses_them(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_again = asyncio.Event()
    sleep = asyncio.sleep

    async def soon(_: float) -> None:
        asked_again.set()
        await sleep(0)

    async def journey() -> None:
        loaded = await models.resolve_lora(DIGEST)
        running = models.core.scheduler.requests
        running["r"] = SimpleNamespace(lora_request=loaded)
        running["of the base"] = SimpleNamespace(lora_request=None)
        monkeypatch.setattr("tunesmith.workers.engine.unloading.asyncio.sleep", soon)
        await models.unload_lora_adapter(SimpleNamespace(lora_name=DIGEST))
        assert models.core.held == {loaded.lora_int_id}
        await asked_again.wait()
        assert models.core.held == {loaded.lora_int_id}
        del running["r"]
        async with asyncio.timeout(10):
            while models.core.held:
                await sleep(0)

    asyncio.run(journey())


def test_another_vllm_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vllm.entrypoints.openai.models.serving", "vllm.v1.engine.core"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert not free_on_unload(lambda _: None, lambda: None)
