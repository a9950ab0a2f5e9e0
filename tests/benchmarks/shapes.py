"""Bases of real shapes with random weights, made from their configurations: no download."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from tunesmith.workers.trainer.base import Base, as_base
from tunesmith.workers.trainer.render import Row

CONTEXT = 4096

_SHAPES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "llama-8b": (
        LlamaConfig,
        {
            "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        },
    ),
    "qwen-1.5b": (
        Qwen2Config,
        {
            "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960,
            "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
            "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
        },
    ),
    "tiny": (
        LlamaConfig,
        {
            "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
    ),
}  # fmt: skip

NAMES = tuple(_SHAPES)


def vocabulary(shape: str) -> int:
    """Number of token ids of a shape."""
    return int(_SHAPES[shape][1]["vocab_size"])


def make_model(shape: str, device: str, dtype: torch.dtype, layers: int | None = None) -> Any:
    """A causal language model with random weights; the same weights every time on one device.

    Args:
        shape: one of `NAMES`.
        device: where it is made, so that no copy goes through the host.
        dtype: of its weights.
        layers: fewer than the shape has, for checks in higher precision.
    """
    kind, values = _SHAPES[shape]
    config = kind(max_position_embeddings=CONTEXT, pad_token_id=0, eos_token_id=2, **values)
    if layers is not None:
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
    config.use_cache = False
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]


def make_base(shape: str, device: str, dtype: torch.dtype, layers: int | None = None) -> Base:
    """The same as a resident base without a tokenizer: rows come as token ids."""
    model = make_model(shape, device, dtype, layers)
    return as_base(model, None, context_length=CONTEXT, stop_ids=frozenset({2}))


def random_rows(shape: str, count: int, seed: int, lengths: tuple[int, int]) -> list[Row]:
    """Random token rows of which the second half is learned."""
    draw = random.Random(seed)
    rows = []
    for example in range(count):
        length = draw.randint(*lengths)
        ids = array("i", [draw.randrange(3, vocabulary(shape)) for _ in range(length)])
        prompt = length // 2
        rows.append(Row(ids, bytes(prompt) + b"\x01" * (length - prompt), example))
    return rows
