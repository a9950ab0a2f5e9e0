"""Rows in one pass see themselves alone, whatever the model."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
)

from tunesmith.workers.trainer.base import Base, as_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.lora import ResidentAdapters, initialise
from tunesmith.workers.trainer.passes import TokenScores, Work, score
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import StepReport
from tunesmith.workers.trainer.spec import SlotSpec

from .small_models import SMALL, log_probs, made

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]


def scored(base: Base, rows: list[Row]) -> list[TokenScores]:
    adapters = ResidentAdapters(base)
    with torch.no_grad():
        return score(base, adapters, [Work([row], None) for row in rows])[0]


CONFIGS = {
    "grouped queries": LlamaConfig(**SMALL),
    "tied, normed heads": Qwen3Config(**SMALL, head_dim=16, tie_word_embeddings=True),
    "a sliding window": MistralConfig(**SMALL, sliding_window=8),
    "windows in some layers, capped logits": Gemma3TextConfig(
        **SMALL, head_dim=16, sliding_window=8, final_logit_softcapping=5.0
    ),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_packed_row_is_computed_as_transformers_computes_it_alone(
    config: Any, rows: Rows
) -> None:
    stock, base = made(config)
    assert base.packs
    data = rows(5, lengths=(3, 40))
    for row, ours in zip(data, scored(base, data), strict=True):
        assert torch.allclose(ours.log_probs, log_probs(stock, row), atol=1e-4)


def test_the_output_layer_is_used_directly_only_where_it_is_all() -> None:
    plain, capped = made(CONFIGS["grouped queries"])[1], made(list(CONFIGS.values())[-1])[1]
    assert plain.head is not None
    assert capped.head is None


def test_no_bit_of_a_row_depends_on_another(base: Base, rows: Rows) -> None:
    first, second, third = rows(3, lengths=(20, 30))
    other = Row(array("i", [(each + 7) % 380 for each in second.input_ids]), second.loss_mask, 1)
    before = scored(base, [first, second, third])
    after = scored(base, [first, other, third])
    assert not torch.equal(before[1].log_probs, after[1].log_probs)
    for place, row in ((0, first), (2, third)):
        assert torch.equal(before[place].log_probs, after[place].log_probs)
        assert torch.equal(before[place].log_probs, scored(base, [row])[0].log_probs)


def test_a_row_that_is_not_finite_stays_alone(base: Base, rows: Rows, spec: Spec) -> None:
    """One adapter's weights are all NaN; its neighbours in the pass don't notice."""
    adapters = ResidentAdapters(base)
    ill, well = (adapters.attach(4, 8.0, 0.0, ("q_proj", "down_proj")) for _ in range(2))
    initialise(well, 1)
    with torch.no_grad():
        ill.flat.fill_(float("nan"))
    data = rows(2, lengths=(20, 30))
    works = [Work([data[0]], ill), Work([data[1]], well)]
    (bad, good), parts = score(base, adapters, works)
    with adapters.routed(parts):
        (bad.log_probs.sum() + good.log_probs.sum()).backward()  # type: ignore[no-untyped-call]
    assert bad.log_probs.isnan().all()
    assert torch.isfinite(good.log_probs).all()
    assert well.flat.grad is not None
    assert torch.isfinite(well.flat.grad).all()
    assert well.flat.grad.any()


def test_a_half_precision_base_trains_float32_adapters(
    base_directory: Path, rows: Rows, spec: Spec
) -> None:
    """What CUDA does in bfloat16, on a CPU: close to float32, and the adapter is float32."""
    data = rows(12, lengths=(20, 40))
    losses: dict[torch.dtype, list[float]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(base_directory, dtype=dtype)
        half = as_base(model, None, context_length=256, stop_ids=frozenset({2}))
        assert half.packs
        cohort = Cohort(half)
        cohort.join(spec(n_epochs=4, dropout=0.1), data, data[:3])
        losses[dtype] = []
        while not cohort.idle:
            for report in cohort.step():
                assert isinstance(report, StepReport), report
                losses[dtype].append(report.loss)
        state = cohort.state("a")
        assert {tensor.dtype for tensor in state.tensors.values()} == {torch.float32}
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=0.03)
    assert losses[torch.bfloat16][-1] < losses[torch.bfloat16][0]
