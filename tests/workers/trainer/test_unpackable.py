"""Bases whose rows would see each other in one sequence: one item at a time, and still exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    Gemma2Config,
    Lfm2Config,
    LlamaConfig,
    ModernBertDecoderConfig,
    Phi3Config,
)

from tunesmith.workers.trainer.adapter import read_tensors
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.data_order import DataOrder
from tunesmith.workers.trainer.errors import BaseUnusable
from tunesmith.workers.trainer.lora import ResidentAdapters, initialise
from tunesmith.workers.trainer.passes import Work, recomputing, score
from tunesmith.workers.trainer.render import Pair, Row
from tunesmith.workers.trainer.report import StepReport
from tunesmith.workers.trainer.spec import SlotSpec

from .small_models import SMALL, log_probs, made

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]

CONVOLUTIONS = Lfm2Config(**SMALL, layer_types=["conv", "full_attention"])
LONGROPE = Phi3Config(
    **SMALL,
    original_max_position_embeddings=16,
    rope_parameters={
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "factor": 16.0,
        "original_max_position_embeddings": 16,
        "short_factor": [1.0] * 8,
        "long_factor": [float(4 + place) for place in range(8)],
    },
)
CAPPED = Gemma2Config(**SMALL, head_dim=16, sliding_window=8, final_logit_softcapping=5.0)


@pytest.mark.parametrize(
    "config", [CONVOLUTIONS, LONGROPE, CAPPED], ids=["convolutions", "longrope", "soft caps"]
)
def test_training_equals_stock_peft(config: Any, rows: Rows, spec: Spec) -> None:
    stock, base = made(config)
    assert not base.packs
    slot, data = spec(n_epochs=3, rank=4), rows(11, lengths=(6, 40))
    cohort = Cohort(base)
    cohort.join(slot, data)
    cohort.join(spec("beside", rank=2), rows(6, seed=4, lengths=(30, 60)))
    initial = read_tensors(cohort.adapter("a"))
    reports: list[StepReport] = []
    while not cohort.idle:
        for report in cohort.step():
            assert isinstance(report, StepReport), report
            reports += [report] if report.slot == "a" else []

    targets = sorted({name.rpartition(".")[2] for name in base.shape.linears})
    peft = get_peft_model(
        stock, LoraConfig(r=slot.rank, lora_alpha=slot.alpha, target_modules=targets)
    )
    named = {
        name.replace(".default", ""): parameter
        for name, parameter in peft.named_parameters()
        if parameter.requires_grad
    }
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(initial[name])
    optimizer = torch.optim.AdamW(named.values(), weight_decay=0.0)
    order = DataOrder(len(data), slot.batch_size, slot.n_epochs, slot.seed)
    assert len(reports) == order.total_steps == 9
    for step, report in enumerate(reports):
        batch = [data[index] for index in order.batch(step)]
        loss = -torch.cat([log_probs(peft, row) for row in batch]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(named.values(), slot.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = report.learning_rate
        optimizer.step()
        optimizer.zero_grad()
        assert report.loss == pytest.approx(float(loss.detach()), rel=1e-4), step
        assert report.grad_norm == pytest.approx(float(norm), rel=1e-3), step


@pytest.mark.parametrize("recompute", [False, True])
def test_both_rows_of_a_pair_are_computed_apart(rows: Rows, *, recompute: bool) -> None:
    stock, base = made(CONVOLUTIONS)
    preferred, rejected = rows(2, lengths=(5, 40))
    adapters = ResidentAdapters(base)
    adapter = adapters.attach(4, 8.0, 0.3, ("in_proj", "w1", "q_proj"))
    initialise(adapter, 0)
    work = Work(Pair(preferred, rejected).rows, adapter, (1, 2))
    with recomputing(base, recompute):
        (scores,), parts = score(base, adapters, [work])
        for row, ours in zip(work.rows, torch.split(scores.log_probs, scores.counts), strict=True):
            with torch.no_grad():  # B is zero, so this is the base's own
                assert torch.allclose(ours, log_probs(stock, row), atol=1e-4)
        with adapters.routed(parts):
            scores.log_probs.sum().backward()  # type: ignore[no-untyped-call]
    assert adapter.flat.grad is not None
    together = adapter.flat.grad.clone()
    adapter.flat.grad.zero_()
    for row, seed in zip(work.rows, work.seeds, strict=True):
        (one,), parts = score(base, adapters, [Work([row], adapter, (seed,))])
        with adapters.routed(parts):
            one.log_probs.sum().backward()  # type: ignore[no-untyped-call]
    assert together.any()
    assert torch.allclose(together, adapter.flat.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("context_length", "packs"), [(16, True), (17, False)])
def test_longrope_is_packed_where_no_row_is_long(context_length: int, *, packs: bool) -> None:
    assert made(LONGROPE, context_length)[1].packs == packs


def test_dynamic_scaling_is_packed_within_the_original_length() -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}
    config = LlamaConfig(**SMALL, rope_parameters=rope)
    assert made(config, 256)[1].packs
    assert not made(config, 257)[1].packs


def test_a_layer_that_sees_some_tokens_only_is_refused() -> None:
    """This head's first layer is given the kept positions: whose they are is lost."""
    config = ModernBertDecoderConfig(**(SMALL | {"initializer_range": 0.02}), local_attention=8)
    with pytest.raises(BaseUnusable, match=r"lm_head\.dense doesn't see every token"):
        Cohort(made(config)[1])
