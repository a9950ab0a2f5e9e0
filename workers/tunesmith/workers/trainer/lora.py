"""LoRA layers of many slots on one resident base, applied together in one pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every torch user knows
from torch import nn

from .base import Base, BaseShape
from .data_order import derived_seed
from .errors import BaseUnusable, HyperparameterInvalid


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
class _Layer:
    """One adapter's part in one linear layer; all are views of the adapter's flat tensors.

    Attributes:
        down, up: A [rank, in] and B [out, rank] in the type that the base computes in.
        down_grad, up_grad: float32, of the same shapes.
        scale: alpha / rank.
    """

    down: torch.Tensor
    up: torch.Tensor
    down_grad: torch.Tensor
    up_grad: torch.Tensor
    scale: float


class AttachedAdapter:
    """One slot's LoRA weights, in one flat float32 tensor with one flat gradient.

    A flat tensor makes an optimizer step, a norm or a copy one operation instead of one for each of
    hundreds of layers.

    Attributes:
        rank, alpha, dropout, targets: as it was attached.
        flat: [parameters] float32, requires a gradient; `flat.grad` is always there.
        parameters: "<module>.lora_A" [rank, in] and "<module>.lora_B" [out, rank], sorted by name:
            views of `flat`.
        layers: by module name, what a pass needs.
    """

    def __init__(
        self, base: Base, rank: int, alpha: float, dropout: float, targets: tuple[str, ...]
    ) -> None:
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets
        shapes: dict[str, tuple[int, int]] = {}
        for name, (fan_in, fan_out) in base.shape.linears.items():
            if name.rpartition(".")[2] in targets:
                shapes[f"{name}.lora_A"] = (rank, fan_in)
                shapes[f"{name}.lora_B"] = (fan_out, rank)
        shapes = dict(sorted(shapes.items()))
        size = sum(math.prod(shape) for shape in shapes.values())
        self.flat = nn.Parameter(torch.zeros(size, dtype=torch.float32, device=base.device))
        self.flat.grad = torch.zeros_like(self.flat)
        self._computed = (
            self.flat.detach()
            if base.dtype == torch.float32
            else torch.zeros(size, dtype=base.dtype, device=base.device)
        )
        self.parameters = _views(self.flat.detach(), shapes)
        grads = _views(self.flat.grad, shapes)
        computed = _views(self._computed, shapes)
        self.layers = {
            name: _Layer(
                down=computed[f"{name}.lora_A"],
                up=computed[f"{name}.lora_B"],
                down_grad=grads[f"{name}.lora_A"],
                up_grad=grads[f"{name}.lora_B"],
                scale=alpha / rank,
            )
            for name in (key.removesuffix(".lora_A") for key in shapes if key.endswith(".lora_A"))
        }

    def refresh(self) -> None:
        """Take over changed weights into the type that the base computes in."""
        if self._computed.dtype != torch.float32:
            self._computed.copy_(self.flat.detach())

    def views(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """A tensor shaped as `flat`, by the parameters' names."""
        return _views(flat, {name: tuple(p.shape) for name, p in self.parameters.items()})


def _views(flat: torch.Tensor, shapes: dict[str, Any]) -> dict[str, torch.Tensor]:
    offsets = itertools.accumulate((math.prod(shape) for shape in shapes.values()), initial=0)
    return {
        name: flat[start : start + math.prod(shape)].view(shape)
        for (name, shape), start in zip(shapes.items(), offsets, strict=False)
    }


@dataclass(frozen=True)
class Part:
    """One adapter's rows in a pass.

    Attributes:
        start, stop: its tokens.
        adapter: whose LoRA layers apply; None for the base alone.
        dropout: (first token, token after the last, seed) of each row, in training with dropout.
    """

    start: int
    stop: int
    adapter: AttachedAdapter | None
    dropout: tuple[tuple[int, int, int], ...] = ()


@dataclass
class _Routing:
    """Which tokens of the present pass belong to which adapter."""

    anchor: torch.Tensor
    parts: tuple[Part, ...] = ()


class SlotLinear(nn.Module):
    """A frozen linear layer to whose output each part's adapter adds its own update."""

    def __init__(self, name: str, base: nn.Linear, routing: _Routing) -> None:
        super().__init__()
        self.name = name
        self.base = base
        self.routing = routing

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`base(x)` plus, in each part's tokens, alpha / rank * B A dropout(x).

        Raises:
            BaseUnusable: the model gives it not all tokens of the pass, so whose they are is lost.
        """
        updates = [
            _Update(part, layer)
            for part in self.routing.parts
            if part.adapter is not None and (layer := part.adapter.layers.get(self.name))
        ]
        if not updates:
            return self.base(x)  # type: ignore[no-any-return]
        if math.prod(x.shape[:-1]) < self.routing.parts[-1].stop:
            raise BaseUnusable(f"the base's layer {self.name} doesn't see every token of a pass")
        anchor = self.routing.anchor
        if type(self.base) is nn.Linear:
            return _linear(x, anchor, self.name, updates, self.base.weight, self.base.bias)
        # A quantised layer computes by itself; the update comes on top.
        return self.base(x) + _linear(x, anchor, self.name, updates, None, None)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Update:
    part: Part
    layer: _Layer


def _linear(*arguments: Any) -> torch.Tensor:
    return _LoraLinear.apply(*arguments)  # type: ignore[no-any-return,no-untyped-call]


class _LoraLinear(torch.autograd.Function):
    """One matrix product for all tokens, and two small ones for each adapter's.

    Weight gradients are added to the adapters' flat gradients directly: no graph node, no temporary
    and no accumulation step for each of them. `anchor` is a tensor that requires a gradient, so
    that the first layer, whose input needs none, gets a backward pass.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd knows positional arguments only
        ctx: Any,
        x: torch.Tensor,
        anchor: torch.Tensor,  # noqa: ARG004 - makes autograd call `backward`
        name: str,
        updates: list[_Update],
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        if weight is None:
            out = tokens.new_zeros(tokens.shape[0], updates[0].layer.up.shape[0])
        else:
            out = F.linear(tokens, weight, bias)
        saved = []
        for update in updates:
            part, layer = update.part, update.layer
            chosen = tokens[part.start : part.stop]
            if part.dropout:
                chosen = chosen * _mask(name, part, chosen)
            low = chosen @ layer.down.T
            out[part.start : part.stop].addmm_(low, layer.up.T, alpha=layer.scale)
            saved.append(low)
        ctx.save_for_backward(tokens, *saved)
        ctx.name, ctx.updates, ctx.weight, ctx.shape = name, updates, weight, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tokens, *lows = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        wanted = ctx.needs_input_grad[0]
        back = None
        if wanted:
            back = torch.zeros_like(tokens) if ctx.weight is None else grad @ ctx.weight
        for update, low in zip(ctx.updates, lows, strict=True):
            part, layer = update.part, update.layer
            chosen = tokens[part.start : part.stop]
            mask = _mask(ctx.name, part, chosen) if part.dropout else None
            if mask is not None:
                chosen = chosen * mask
            mine = grad[part.start : part.stop]
            low_grad = (mine @ layer.up).mul_(layer.scale)
            _accumulate(layer.up_grad, mine, low, layer.scale)
            _accumulate(layer.down_grad, low_grad, chosen, 1.0)
            if back is None:
                continue
            if mask is None:
                back[part.start : part.stop].addmm_(low_grad, layer.down)
            else:
                back[part.start : part.stop].add_((low_grad @ layer.down).mul_(mask))
        return (None if back is None else back.view(ctx.shape), None, None, None, None, None)


def _accumulate(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor, scale: float) -> None:
    """Add to total: scale * left.T @ right, in float32 whatever the factors are."""
    if left.dtype == total.dtype:
        total.addmm_(left.T, right, alpha=scale)
    else:
        total.add_(left.T @ right, alpha=scale)


def _mask(name: str, part: Part, like: torch.Tensor) -> torch.Tensor:
    """Dropout's factors, from seed, row and layer alone: equal whatever else is in the pass."""
    assert part.adapter is not None
    keep = 1.0 - part.adapter.dropout
    mask = torch.empty_like(like)
    for first, last, seed in part.dropout:
        generator = torch.Generator(like.device).manual_seed(derived_seed(seed, name))
        mask[first - part.start : last - part.start].bernoulli_(keep, generator=generator)
    return mask.div_(keep)


@dataclass
class ResidentAdapters:
    """Attaches adapters to a base, and says per pass which of them apply to which tokens.

    The base's linear layers are wrapped once; with no parts they compute what they always did.
    """

    base: Base
    _routing: _Routing = field(init=False)

    def __post_init__(self) -> None:
        modules = {name: self.base.model.get_submodule(name) for name in self.base.shape.linears}
        wrapped = [module for module in modules.values() if isinstance(module, SlotLinear)]
        if wrapped:  # by an earlier cohort on this base, which may still be there
            self._routing = wrapped[0].routing
            return
        # A tensor that always requires a gradient; its own is never computed.
        anchor = torch.zeros((), device=self.base.device, requires_grad=True)
        self._routing = _Routing(anchor)
        for name, module in modules.items():
            parent, _, last = name.rpartition(".")
            wrapper = SlotLinear(name, module, self._routing)
            setattr(self.base.model.get_submodule(parent), last, wrapper)

    def attach(
        self, rank: int, alpha: float, dropout: float, targets: tuple[str, ...]
    ) -> AttachedAdapter:
        """A new adapter, all weights zero."""
        return AttachedAdapter(self.base, rank, alpha, dropout, targets)

    @contextmanager
    def routed(self, parts: Sequence[Part]) -> Iterator[None]:
        """Let each part's adapter apply to its tokens, forward and backward, within the block."""
        self._routing.parts = tuple(parts)
        try:
            yield
        finally:
            self._routing.parts = ()


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
    adapter.refresh()
