"""Whether an engine can be given an adapter: checked before any engine sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .adapter import (
    KEY_PREFIX,
    AdapterConfig,
    AdapterFiles,
    read_settings,
    read_tensors,
)
from .base import BaseShape
from .errors import AdapterInvalid

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# Settings that are read here, and those that say nothing about how the weights are used.
_READ = {
    "peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "bias",
    "init_lora_weights",
}  # fmt: skip
_WITHOUT_EFFECT = {
    "base_model_name_or_path", "inference_mode", "megatron_core", "peft_version",
    "qalora_group_size", "revision", "auto_mapping", "ensure_weight_tying",
}  # fmt: skip


def validate_adapter(
    adapter: str | Path | AdapterFiles | Mapping[str, bytes],
    shape: BaseShape,
    *,
    max_rank: int | None = None,
) -> AdapterConfig:
    """Check an adapter against a base and return its configuration.

    Plain LoRA on linear layers only: no DoRA, no rsLoRA, no bias, no per-module ranks, no
    `modules_to_save`, no output embedding; safetensors only; every targeted module present with
    the base's shapes; every number finite. Any setting that isn't known to be harmless is refused
    when it is switched on, so that a newer feature can't slip through.

    Args:
        adapter: a directory, or the two files.
        shape: the base's shape (`Base.shape` or `base.load_shape`).
        max_rank: the engines' largest rank; None for no limit.

    Raises:
        AdapterInvalid: with the reason.
    """
    files = _files(adapter)
    config = _config(read_settings(files), max_rank)
    _check_weights(read_tensors(files), config, shape)
    return config


def adapter_parameters(files: AdapterFiles, shape: BaseShape) -> dict[str, torch.Tensor]:
    """A validated adapter's weights by the trainer's names, float32.

    Raises:
        AdapterInvalid: as `validate_adapter`.
    """
    validate_adapter(files, shape)
    return {
        name.removeprefix(KEY_PREFIX).removesuffix(".weight"): tensor.to(torch.float32)
        for name, tensor in read_tensors(files).items()
    }


def _files(adapter: str | Path | AdapterFiles | Mapping[str, bytes]) -> AdapterFiles:
    if isinstance(adapter, AdapterFiles):
        return adapter
    if isinstance(adapter, str | Path):
        return AdapterFiles.read(adapter)
    return AdapterFiles.of(adapter)


def _config(settings: dict[str, Any], max_rank: int | None) -> AdapterConfig:
    if settings.get("peft_type") != "LORA":
        raise AdapterInvalid(f"peft_type must be LORA, not {settings.get('peft_type')!r}")
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        raise AdapterInvalid(f"task_type must be CAUSAL_LM, not {settings['task_type']!r}")
    if settings.get("bias", "none") != "none":
        raise AdapterInvalid("LoRA with biases can't be served")
    if isinstance(settings.get("init_lora_weights", True), str):
        # Some of these (PiSSA, OLoRA, CorDA, LoftQ) change the base's weights when PEFT loads.
        raise AdapterInvalid(f"init_lora_weights {settings['init_lora_weights']!r} can't be served")
    for name in sorted(set(settings) - _READ - _WITHOUT_EFFECT):
        if settings[name]:
            raise AdapterInvalid(f"{name} can't be served")
    rank = settings.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise AdapterInvalid(f"r must be a positive integer, not {rank!r}")
    if max_rank is not None and rank > max_rank:
        raise AdapterInvalid(f"rank {rank} is above {max_rank}, the largest that is served")
    return AdapterConfig(
        rank=rank,
        alpha=_number(settings, "lora_alpha", above=0.0),
        target_modules=_targets(settings.get("target_modules")),
        dropout=_number(settings, "lora_dropout", default=0.0),
    )


def _number(
    settings: dict[str, Any], name: str, *, above: float | None = None, default: float | None = None
) -> float:
    value = settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise AdapterInvalid(f"{name} must be a finite number, not {value!r}")
    if above is not None and value <= above:
        raise AdapterInvalid(f"{name} must be above {above:g}, not {value!r}")
    return float(value)


def _targets(targets: object) -> tuple[str, ...]:
    if not isinstance(targets, list) or not targets:
        raise AdapterInvalid("target_modules must be a list of module names")
    if not all(isinstance(target, str) for target in targets):
        raise AdapterInvalid("target_modules must be a list of module names")
    return tuple(sorted(targets))


def _check_weights(
    tensors: dict[str, torch.Tensor], config: AdapterConfig, shape: BaseShape
) -> None:
    expected: dict[str, tuple[int, int]] = {}
    suffixes = set()
    for module, (fan_in, fan_out) in shape.linears.items():
        suffix = module.rpartition(".")[2]
        if suffix in config.target_modules:
            suffixes.add(suffix)
            expected[f"{KEY_PREFIX}{module}.lora_A.weight"] = (config.rank, fan_in)
            expected[f"{KEY_PREFIX}{module}.lora_B.weight"] = (fan_out, config.rank)
    unknown = sorted(set(config.target_modules) - suffixes)
    if unknown:
        raise AdapterInvalid(f"target_modules {unknown} are no linear layers that can carry LoRA")
    foreign = sorted(set(tensors) - set(expected))
    if foreign:
        raise AdapterInvalid(f"tensor {foreign[0]} fits no targeted layer of the base")
    missing = sorted(set(expected) - set(tensors))
    if missing:
        raise AdapterInvalid(f"tensor {missing[0]} is missing")
    for name, tensor in sorted(tensors.items()):
        if tensor.dtype not in _DTYPES:
            raise AdapterInvalid(f"{name} is {tensor.dtype}, not float32, bfloat16 or float16")
        if tuple(tensor.shape) != expected[name]:
            raise AdapterInvalid(
                f"{name} has shape {list(tensor.shape)}, the base needs {list(expected[name])}"
            )
        if not torch.isfinite(tensor).all():
            raise AdapterInvalid(f"{name} has values that are not finite")
