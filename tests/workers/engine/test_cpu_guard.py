"""Rows without an adapter stay the base's; rows with one are computed as vLLM computes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is missing: install the extra engine-cpu or engine-gpu")

from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu

from tunesmith.workers.engine.cpu_guard import guard_cpu_operations, guard_prompt_logits

NAMES = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
INDICES = torch.tensor([0, -1, 1, -1, 1])


@pytest.fixture
def plain() -> Iterator[dict[str, Any]]:
    """VLLM's own operations; guarded ones are taken back afterwards."""
    before = {name: getattr(lora_ops, name) for name in NAMES}
    yield before
    from vllm.lora.ops import torch_ops

    for name, operation in before.items():
        for module in (lora_ops, torch_ops, punica_cpu):
            setattr(module, name, operation)


def test_rows_without_an_adapter_get_nothing(plain: dict[str, Any]) -> None:
    assert guard_cpu_operations()
    assert not guard_cpu_operations()  # what is right is left alone
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(5, 8, generator=generator)
    shrink, expand = (torch.randn(2, 1, *shape, generator=generator) for shape in ((4, 8), (6, 4)))
    has_adapter = INDICES >= 0

    small, expected = torch.zeros(5, 4), torch.zeros(5, 4)
    lora_ops.bgmv_shrink(inputs, shrink, small, INDICES, 0.5)
    plain["bgmv_shrink"](inputs, shrink, expected, INDICES, 0.5)
    assert torch.equal(small[has_adapter], expected[has_adapter])
    assert not small[~has_adapter].any()
    assert expected[~has_adapter].any()  # this is what would have been wrong

    before = torch.randn(5, 6, generator=generator)
    full, expected = before.clone(), before.clone()
    punica_cpu.bgmv_expand(expected.new_ones(5, 4), expand, full, INDICES, add_inputs=True)
    plain["bgmv_expand"](torch.ones(5, 4), expand, expected, INDICES, add_inputs=True)
    assert torch.equal(full[has_adapter], expected[has_adapter])
    assert torch.equal(full[~has_adapter], before[~has_adapter])

    sliced = before.clone()
    lora_ops.bgmv_expand_slice(torch.ones(5, 4), expand[:, :, :2], sliced, INDICES, 2, 2)
    assert torch.equal(sliced[~has_adapter], before[~has_adapter])
    assert not torch.equal(sliced[has_adapter], before[has_adapter])


def test_the_prefills_operations_are_guarded_with_them(plain: dict[str, Any]) -> None:
    guard_cpu_operations()
    output = torch.zeros(5, 4)
    lengths = torch.tensor([3, 2])
    lora_ops.sgmv_shrink(
        torch.ones(5, 8),
        torch.ones(2, 1, 4, 8),
        output,
        torch.tensor([0, 3]),
        lengths,
        torch.tensor([-1, 1]),
        2,
        3,
        5,
        1.0,
    )
    assert not output[:3].any()
    assert output[3:].all()


def test_logits_of_a_prompts_tokens_do_not_end_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = punica_cpu.PunicaWrapperCPU
    monkeypatch.setattr(wrapper, "add_lora_logits", wrapper.add_lora_logits)
    guard_prompt_logits()
    guard_prompt_logits()

    class Requests:
        sampler_indices = torch.tensor([0, 1])

    def added(rows: int) -> torch.Tensor:
        logits = torch.zeros(rows, 6)
        wrapper.add_lora_logits(
            Requests(),
            logits,
            torch.ones(rows, 8),
            torch.ones(2, 1, 4, 8),
            torch.ones(2, 1, 6, 4),
            1.0,
        )
        return logits

    assert not added(5).any()  # one row a token: no adapter has an output layer
    assert added(2).all()  # one row a request: as vLLM computes it
