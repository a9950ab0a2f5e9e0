"""What a cohort trains on is in memory: files that change later change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tunesmith.workers.trainer.base import load_base


@pytest.fixture
def aligned(base_directory: Path, tmp_path: Path) -> Path:
    """The base with its tensors at multiples of 64 bytes, where a mapped file can be used as is."""
    directory = Path(shutil.copytree(base_directory, tmp_path / "base"))
    file = directory / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    for count in range(64):
        content = safetensors.torch.save(tensors, {"format": "pt", "filler": "x" * count})
        if (8 + int.from_bytes(content[:8], "little")) % 64 == 0:
            file.write_bytes(content)
            return directory
    raise AssertionError("no filler aligned the tensors")


@pytest.mark.parametrize("change", [lambda size: b"\x40" * size, lambda _: b""])
def test_overwriting_the_file_changes_no_weight(
    aligned: Path, change: Callable[[int], bytes]
) -> None:
    base = load_base(aligned, "cpu")
    before = {name: weight.clone() for name, weight in base.model.named_parameters()}
    file = aligned / "model.safetensors"
    with file.open("r+b") as stream:  # in place, as `cp` does it
        stream.truncate(0)
        stream.write(change(file.stat().st_size))
    for name, weight in base.model.named_parameters():
        assert torch.equal(weight, before[name]), name
