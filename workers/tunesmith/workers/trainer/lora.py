"""LoRA layers of many slots on one resident base, injected by stock PEFT."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn

from .base import Base, BaseShape
from .data_order import derived_seed
from .errors import HyperparameterInvalid


def target_suffixes(shape: BaseShape, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Sorted last parts of the module names that carry LoRA; every linear layer if none is named.

    Raises:
        HyperparameterInvalid: a wanted name is no linear layer of the base.
    """
    present = {name.rpartition(".")[2] for name in shape.linears}
    unknown = sorted(set(wanted) - present)
    if unknown:
        raise HyperparameterInvalid(
            "target_modules", unknown, f"among the base's linear layers {sorted(present)}"
        )
    return tuple(sorted(wanted or present))


@dataclass(frozen=True)
class AttachedAdapter:
    """One slot's LoRA layers.

    Attributes:
        key: PEFT's name for it. Slots' own names could clash with module attributes.
        rank, alpha, dropout, targets: as it was attached.
        parameters: "<module>.lora_A" [rank, in] and "<module>.lora_B" [out, rank], sorted by name;
            float32 on every device.
        dropouts: its dropout modules.
    """

    key: str
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    parameters: dict[str, nn.Parameter]
    dropouts: tuple[nn.Module, ...]


class ResidentAdapters:
    """Attaches adapters to a base, makes one of them active at a time, takes them off again."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._peft: PeftModel | None = None
        self._numbers = itertools.count()
        self._attached: set[str] = set()
        self._active: str | None = None

    def attach(
        self, rank: int, alpha: float, dropout: float, targets: tuple[str, ...]
    ) -> AttachedAdapter:
        """Add LoRA layers; other slots' layers, gradients included, stay as they are."""
        key = f"slot{next(self._numbers)}"
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=list(targets),
        )
        self._active = None  # PEFT may activate and freeze as it likes while it injects
        devices = [self._base.device] if self._base.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # PEFT's own initialisation draws random numbers
            if self._peft is None:
                self._peft = get_peft_model(self._base.model, config, adapter_name=key)
            else:
                self._peft.add_adapter(key, config)
        self._base.model.eval()
        self._attached.add(key)
        parameters: dict[str, nn.Parameter] = {}
        dropouts: list[nn.Module] = []
        for name, module in self._base.model.named_modules():
            if isinstance(module, LoraLayer) and key in module.lora_A:
                parameters[f"{name}.lora_A"] = module.lora_A[key].weight
                parameters[f"{name}.lora_B"] = module.lora_B[key].weight
                dropouts.append(module.lora_dropout[key])
        return AttachedAdapter(
            key=key,
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            targets=targets,
            parameters=dict(sorted(parameters.items())),
            dropouts=tuple(dropouts),
        )

    def activate(self, adapter: AttachedAdapter, *, training: bool) -> Any:
        """Make one adapter the active and only trainable one; returns the model to call.

        The base stays in eval mode throughout: only the adapter's own dropout ever trains.
        """
        if self._peft is None or adapter.key not in self._attached:
            raise RuntimeError(f"adapter {adapter.key} is not attached")
        if self._active != adapter.key:
            self._peft.set_adapter(adapter.key)
            self._active = adapter.key
        for module in adapter.dropouts:
            module.train(training)
        return self._base.model

    def detach(self, adapter: AttachedAdapter) -> None:
        """Take an adapter off; with the last one, the base is as it was loaded."""
        if self._peft is None or adapter.key not in self._attached:
            raise RuntimeError(f"adapter {adapter.key} is not attached")
        self._attached.remove(adapter.key)
        self._active = None
        if self._attached:
            self._peft.set_adapter(min(self._attached))  # PEFT warns when the active one goes
            self._peft.delete_adapter(adapter.key)
        else:
            self._peft.unload()
            self._peft = None


def initialise(adapter: AttachedAdapter, seed: int) -> None:
    """LoRA's standard start: A uniform as for a linear layer, B zero (arXiv 2106.09685, PEFT).

    A is drawn from U(-1/sqrt(in), 1/sqrt(in)) on the CPU with a generator per module, so that it
    depends on seed, module name and shape alone, and not on device or injection order.
    """
    with torch.no_grad():
        for name, parameter in adapter.parameters.items():
            if name.endswith(".lora_B"):
                parameter.zero_()
                continue
            generator = torch.Generator("cpu").manual_seed(derived_seed(seed, "init", name))
            bound = 1 / math.sqrt(parameter.shape[1])
            drawn = torch.empty(parameter.shape, dtype=torch.float32)
            parameter.copy_(drawn.uniform_(-bound, bound, generator=generator))
