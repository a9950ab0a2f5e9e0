"""The sizes of a base's linear layers, for checks at job creation: without torch where possible."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

PLAIN = frozenset(
    {
        "gemma",
        "gemma2",
        "gemma3_text",
        "granite",
        "llama",
        "mistral",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
    }
)
"""Model types whose only matrices under `model.layers` are those of linear layers."""

_LAYER = re.compile(r"model\.layers\.\d+\.(?:.+\.)?([^.]+)\.weight")
_LONGEST_HEADER = 100_000_000  # the format's own limit


def linear_sizes(
    directory: Path, config: Mapping[str, Any], digest: str, cache: Path | None = None
) -> dict[str, int]:
    """Last part of each linear layer's name -> sum of (fan-in + fan-out) over the layers.

    Empty when the trainer cannot read the base.

    Args:
        directory: of the base.
        config: its config.json.
        digest: of the base, by which the cache knows it.
        cache: a JSON file that remembers what took seconds to find out.
    """
    if config.get("model_type") in PLAIN and "quantization_config" not in config:
        return _from_weights(directory)
    key = f"{digest} {version('transformers')}"  # which decides what is a linear layer
    known = _read(cache)
    if key not in known:
        known[key] = _from_model(directory)
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
            temporary.write_text(json.dumps(known))
            temporary.replace(cache)
    return known[key]


def _from_weights(directory: Path) -> dict[str, int]:
    """From the safetensors files' headers: milliseconds."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        shapes |= {name: tensor["shape"] for name, tensor in header.items() if "shape" in tensor}
    sizes: Counter[str] = Counter()
    for name, shape in shapes.items():
        layer = _LAYER.fullmatch(name)
        if layer and len(shape) == 2:
            sizes[layer[1]] += sum(shape)
    return dict(sizes)


def _from_model(directory: Path) -> dict[str, int]:
    """From the model's modules, without weights: importing torch takes seconds."""
    from tunesmith.workers.trainer.base import load_shape
    from tunesmith.workers.trainer.errors import BaseUnusable

    try:
        shape = load_shape(directory)
    except (BaseUnusable, ValueError, OSError, ImportError) as error:
        log.warning("linear layers not known", directory=str(directory), error=str(error))
        return {}
    sizes: Counter[str] = Counter()
    for name, (fan_in, fan_out) in shape.linears.items():
        sizes[name.rpartition(".")[2]] += fan_in + fan_out
    return dict(sizes)


def _read(cache: Path | None) -> dict[str, dict[str, int]]:
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
