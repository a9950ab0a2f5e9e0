"""How many bytes a slot and a pass take on the device: what admission goes by."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from .base import Base, BaseShape
from .data_order import derived_seed
from .errors import DoesNotFit, NoRoomNow
from .lora import ResidentAdapters, initialise, target_suffixes
from .passes import LOGITS_BYTES, Work, recomputing, score
from .render import Row

STATE_BYTES = 16
"""Per trained parameter: float32 weight, gradient and AdamW's two moments."""

_MARGIN = 1.25
"""Over what a pass keeps for its backward: temporaries of the layer at work, and fragmentation."""

_SHARE = 0.9
"""Of the free memory; the rest is for the allocator and the neighbours."""


@dataclass(frozen=True)
class Need:
    """What one slot takes.

    Attributes:
        state: bytes of weights, gradient and moments, for as long as it is there.
        activations: bytes of a pass with its longest item; passes come one after another, so slots
            share the largest of these.
        recomputes: whether that holds with gradient checkpointing only.
    """

    state: int
    activations: int
    recomputes: bool


@dataclass(frozen=True)
class Memory:
    """The device's memory beside the base.

    Attributes:
        capacity: bytes for slots and passes.
        token_bytes: what a token of a pass keeps for the backward pass.
        recomputed_token_bytes: the same with gradient checkpointing.
        logits_bytes: the most that the output layer's chunks take at once.
    """

    capacity: int
    token_bytes: int
    recomputed_token_bytes: int
    logits_bytes: int

    @classmethod
    def measured(
        cls,
        base: Base,
        adapters: ResidentAdapters,
        capacity: int | None = None,
        gpu_share: float = 1.0,
    ) -> Memory:
        """Measure passes of two lengths; the difference is what a token costs.

        Args:
            capacity: bytes for slots and passes; None for most of what the device has free.
            gpu_share: of a GPU's memory, base included: an engine that takes the rest may start
                later, when all of it still looks free.
        """
        free = free_bytes(base.device, gpu_share) if capacity is None else capacity
        vocabulary = base.model.get_output_embeddings().weight.shape[0]
        few, many = 32, min(160, base.context_length)
        costs = []
        for recompute in (False, True):
            kept = [_kept_bytes(base, adapters, tokens, recompute) for tokens in (few, many)]
            costs.append(max(1, int(_MARGIN * (kept[1] - kept[0]) / max(1, many - few))))
        # Recomputing holds one layer's tensors at a time besides the layers' inputs.
        layers = max(1, base.model.config.get_text_config().num_hidden_layers)
        return cls(
            capacity=free,
            token_bytes=costs[0],
            recomputed_token_bytes=min(costs[0], costs[1] + costs[0] // layers),
            logits_bytes=min(3 * LOGITS_BYTES, 3 * 4 * vocabulary * base.context_length),
        )

    def need(self, shape: BaseShape, rank: int, targets: tuple[str, ...], longest: int) -> Need:
        """What a slot of this rank takes whose longest item has so many tokens.

        Raises:
            DoesNotFit: more than the device has; the message gives the numbers.
        """
        state = state_bytes(shape, rank, targets)
        plain = longest * self.token_bytes + self.logits_bytes
        least = longest * self.recomputed_token_bytes + self.logits_bytes
        if state + least > self.capacity:
            raise DoesNotFit(
                f"the job needs {_mb(state + least)} beside the base: {_mb(state)} for weights,"
                f" gradients and optimizer state at LoRA rank {rank}, and {_mb(least)} for"
                f" activations of its longest example ({longest} tokens); the device has"
                f" {_mb(self.capacity)}. Lower the rank or shorten the examples."
            )
        recomputes = state + plain > self.capacity
        return Need(state, least if recomputes else plain, recomputes)

    def admit(self, need: Need, present: list[Need], tokens_per_pass: int) -> None:
        """Check that a slot fits beside those that are there.

        Raises:
            NoRoomNow: it doesn't; the message gives the numbers.
        """
        states = sum(each.state for each in present)
        usual = self.pass_bytes(tokens_per_pass)
        passes = max(usual, need.activations, *(each.activations for each in present), 0)
        if present and states + need.state + passes > self.capacity:
            raise NoRoomNow(
                f"the job needs {_mb(need.state)} and passes of {_mb(passes)}; beside the"
                f" {len(present)} jobs in training {_mb(max(0, self.capacity - states))} are free"
            )

    def pass_bytes(self, tokens: int) -> int:
        """Bytes of a pass of so many tokens."""
        return tokens * self.token_bytes + self.logits_bytes

    def tokens_per_pass(self, wanted: int) -> int:
        """`wanted`, or fewer where a pass of that size would take more than half of the memory."""
        fitting = (self.capacity // 2 - self.logits_bytes) // self.token_bytes
        return max(1, min(wanted, fitting))


def state_bytes(shape: BaseShape, rank: int, targets: tuple[str, ...]) -> int:
    """Bytes of a slot's weights, gradient and optimizer state."""
    return STATE_BYTES * shape.lora_parameters(rank, target_suffixes(shape, targets))


def free_bytes(device: torch.device, gpu_share: float = 1.0) -> int:
    """Most of the memory that is free on a device now, within a container's limit."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        allowed = total * gpu_share - torch.cuda.memory_allocated(device)
        return int(max(0, min(free * _SHARE, allowed)))
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()) != "max":
        free = min(free, int(most) - int(used.read_text()))
    return int(max(0, free) * _SHARE)


def _kept_bytes(base: Base, adapters: ResidentAdapters, tokens: int, recompute: bool) -> int:
    """Bytes that autograd keeps between the forward and the backward pass of one row."""
    vocabulary = base.model.config.get_text_config().vocab_size
    ids = [derived_seed("memory", place) % vocabulary for place in range(tokens)]
    row = Row.of(ids, bytes([0]) + bytes([1]) * (tokens - 1))
    adapter = adapters.attach(8, 8.0, 0.0, target_suffixes(base.shape, ()))
    initialise(adapter, 0)
    resident = {parameter.untyped_storage().data_ptr() for parameter in base.model.parameters()}
    resident.add(adapter.flat.untyped_storage().data_ptr())
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in resident:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        recomputing(base, recompute),
    ):
        scores, _ = score(base, adapters, [Work([row], adapter)])
    del scores
    return sum(kept.values())


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count < 1e10 else f"{count / 1e9:,.1f} GB"
