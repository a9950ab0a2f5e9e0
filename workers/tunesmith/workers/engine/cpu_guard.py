"""Keeps a request for the base from being answered with somebody's adapter, on CPU engines.

In a batch, vLLM marks tokens without an adapter by the index -1. Its GPU kernels skip them; its
CPU operations index the stacked adapters with it, which is the last one in Python: beside a full
set of adapters, the base answers with the last one's weights. Known upstream, not merged as of
0.32: https://github.com/vllm-project/vllm/pull/48421 and .../49656. Found here by
tests/end_to_end/test_hot_loading.py.

A row of zeros times any adapter is zero: so the rows without an adapter are zeroed on their way
in, and their index is made a valid one. Other rows are computed as before, bit for bit.

It also keeps a request for `prompt_logprobs` from ending the engine: the output layer's LoRA takes
one row for each request of the batch, and those logits have one for each token of a prompt. No
adapter that is served here targets the output layer (they are refused when they are validated), so
what it would add is zero.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("vllm.tunesmith")

_OPERATIONS = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
Operation = Callable[..., None]


def guard_cpu_operations() -> bool:
    """Guard vLLM's CPU operations if they need it; whether they did."""
    import torch
    from vllm.lora.ops import torch_ops
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    if not _mistakes_no_adapter_for_one(torch, lora_ops.bgmv_shrink):
        return False
    for name in _OPERATIONS:
        guarded = _guarded(getattr(lora_ops, name))
        for module in (lora_ops, torch_ops, punica_cpu):
            setattr(module, name, guarded)
    log.info("guarded vLLM's CPU LoRA operations: rows without an adapter stay the base's")
    return True


def guard_prompt_logits() -> None:
    """Have the output layer's LoRA leave logits alone that are not of one row a request."""
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    add = PunicaWrapperCPU.add_lora_logits
    if getattr(add, "guarded", False):
        return

    @functools.wraps(add)
    def add_where_rows_are_requests(self: Any, y: Any, x: Any, *others: Any, **named: Any) -> None:
        if x.view(-1, x.shape[-1]).shape[0] == self.sampler_indices.shape[0]:
            add(self, y, x, *others, **named)

    add_where_rows_are_requests.guarded = True  # type: ignore[attr-defined]
    PunicaWrapperCPU.add_lora_logits = add_where_rows_are_requests


def _guarded(operation: Operation) -> Operation:
    @functools.wraps(operation)
    def skip_rows_without_adapter(
        inputs: Any, weights: Any, output: Any, indices: Any, *others: Any, **named: Any
    ) -> None:
        without = indices < 0
        if without.any():
            inputs = inputs.masked_fill(without.unsqueeze(1), 0)
            indices = indices.clamp(min=0)
        operation(inputs, weights, output, indices, *others, **named)

    return skip_rows_without_adapter


def _mistakes_no_adapter_for_one(torch: Any, shrink: Operation) -> bool:
    output = torch.zeros(1, 1)
    shrink(torch.ones(1, 1), torch.ones(1, 1, 1), output, torch.tensor([-1]), 1.0)
    return bool(output.any())
