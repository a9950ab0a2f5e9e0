"""The small base, loaded, and rows to train it on."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.render import Renderer, Row
from tunesmith.workers.trainer.spec import SlotSpec


@pytest.fixture
def base(base_directory: Path) -> Base:
    return load_base(base_directory, device="cpu")


@pytest.fixture(scope="session")
def tokenizer(base_directory: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(base_directory)


@pytest.fixture(scope="session")
def renderer(base_directory: Path) -> Renderer:
    return Renderer.from_directory(base_directory)


@pytest.fixture(scope="session")
def rows() -> Callable[..., list[Row]]:
    """Makes random rows of which the second half is learned."""

    def make(count: int, seed: int = 0, lengths: tuple[int, int] = (6, 24)) -> list[Row]:
        draw = random.Random(seed)
        made = []
        for example in range(count):
            length = draw.randint(*lengths)
            ids = array("i", [draw.randrange(3, 384) for _ in range(length)])
            prompt = length // 2
            made.append(Row(ids, bytes(prompt) + b"\x01" * (length - prompt), example))
        return made

    return make


@pytest.fixture(scope="session")
def spec() -> Callable[..., SlotSpec]:
    """Makes the spec of a small slot."""

    def make(name: str = "a", **fields: Any) -> SlotSpec:
        settings: dict[str, Any] = {
            "rank": 4,
            "alpha": 8.0,
            "learning_rate": 5e-3,
            "n_epochs": 2,
            "batch_size": 4,
            "warmup_steps": 1,
            "seed": 11,
        }
        return SlotSpec(name=name, **(settings | fields))

    return make
