"""The result of training: an adapter in PEFT's format, the same bytes for the same weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from .errors import AdapterInvalid

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
KEY_PREFIX = "base_model.model."

_HARMLESS_FILES = {"README.md"}  # PEFT writes one beside its adapters


def digest(files: Mapping[str, bytes]) -> str:
    """Content digest of an adapter, lower-case hex.

    sha256 over, for each file in sorted order of its name: the name in UTF-8, one NUL byte, the
    content's length as 8 bytes big-endian, the content.
    """
    hasher = hashlib.sha256()
    for name in sorted(files):
        hasher.update(name.encode("utf-8") + b"\0")
        hasher.update(len(files[name]).to_bytes(8, "big"))
        hasher.update(files[name])
    return hasher.hexdigest()


@dataclass(frozen=True)
class AdapterConfig:
    """What of an adapter's configuration decides how its weights are used.

    Attributes:
        rank: LoRA rank.
        alpha: updates are scaled by alpha / rank.
        target_modules: sorted last parts of the adapted modules' names.
        dropout: the dropout that it was trained with; no influence on inference.
    """

    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    dropout: float = 0.0


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter as its two files.

    Attributes:
        config: bytes of adapter_config.json.
        weights: bytes of adapter_model.safetensors.
    """

    config: bytes
    weights: bytes

    @property
    def files(self) -> dict[str, bytes]:
        return {CONFIG_NAME: self.config, WEIGHTS_NAME: self.weights}

    @property
    def digest(self) -> str:
        return digest(self.files)

    def write(self, directory: str | Path) -> None:
        """Write both files into a directory, which is created when missing."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (directory / name).write_bytes(content)

    @classmethod
    def read(cls, directory: str | Path) -> AdapterFiles:
        """Read an adapter directory.

        Raises:
            AdapterInvalid: a file is missing, or there is one that doesn't belong, such as a
                pickle that some loader might prefer.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise AdapterInvalid(f"{directory} is no directory")
        present = {path.name for path in directory.iterdir()} - _HARMLESS_FILES
        return cls.of({name: (directory / name).read_bytes() for name in _exactly_two(present)})

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> AdapterFiles:
        """From file contents by name.

        Raises:
            AdapterInvalid: not exactly the two files.
        """
        _exactly_two(set(files))
        return cls(config=files[CONFIG_NAME], weights=files[WEIGHTS_NAME])


def export_adapter(config: AdapterConfig, parameters: Mapping[str, torch.Tensor]) -> AdapterFiles:
    """Write weights in PEFT's format.

    No name, path, date or version goes in, so equal weights give equal bytes. Weights stay
    float32, as they were trained: vLLM casts them to the model's type when it loads them, and a
    later job can continue from them without loss.

    Args:
        config: rank, alpha, targets, dropout.
        parameters: "<module>.lora_A" [rank, in] and "<module>.lora_B" [out, rank].
    """
    tensors = {
        f"{KEY_PREFIX}{name}.weight": parameter.detach().to("cpu", torch.float32).contiguous()
        for name, parameter in parameters.items()
    }
    alpha = int(config.alpha) if config.alpha == int(config.alpha) else config.alpha
    settings = {
        "base_model_name_or_path": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": alpha,
        "lora_dropout": config.dropout,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": config.rank,
        "target_modules": sorted(config.target_modules),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    return AdapterFiles(
        config=(json.dumps(settings, indent=2, sort_keys=True) + "\n").encode(),
        weights=safetensors.torch.save(tensors, metadata={"format": "pt"}),
    )


def read_settings(files: AdapterFiles) -> dict[str, Any]:
    """adapter_config.json as a dictionary.

    Raises:
        AdapterInvalid: it isn't a JSON object.
    """
    try:
        settings = json.loads(files.config)
    except ValueError as error:
        raise AdapterInvalid(f"{CONFIG_NAME} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise AdapterInvalid(f"{CONFIG_NAME} is not a JSON object")
    return settings


def read_tensors(files: AdapterFiles) -> dict[str, torch.Tensor]:
    """Tensors of the weights file by PEFT's names.

    Raises:
        AdapterInvalid: it isn't a safetensors file.
    """
    try:
        tensors = safetensors.torch.load(files.weights)
    except (safetensors.SafetensorError, KeyError) as error:
        raise AdapterInvalid(f"{WEIGHTS_NAME} is not a safetensors file: {error}") from error
    return dict(tensors)


def _exactly_two(names: set[str]) -> tuple[str, str]:
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if name not in names:
            raise AdapterInvalid(f"{name} is missing")
    extra = sorted(names - {CONFIG_NAME, WEIGHTS_NAME})
    if extra:
        raise AdapterInvalid(f"only {CONFIG_NAME} and {WEIGHTS_NAME} are allowed, not {extra}")
    return CONFIG_NAME, WEIGHTS_NAME
