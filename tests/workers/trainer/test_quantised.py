"""A base in 4 bits trains like the same base with its rounded weights in float32."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tunesmith.workers.trainer.base import Base, as_base, load_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import StepReport
from tunesmith.workers.trainer.spec import SlotSpec

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="the library bitsandbytes is missing, which holds a base in 4 bits",
)


def losses(base: Base, slots: list[SlotSpec], data: list[Row]) -> dict[str, list[float]]:
    cohort = Cohort(base)
    for slot in slots:
        cohort.join(slot, data)
    found: dict[str, list[float]] = {slot.name: [] for slot in slots}
    while not cohort.idle:
        for report in cohort.step():
            assert isinstance(report, StepReport), report
            found[report.slot].append(report.loss)
    return found


def test_it_trains(
    base_directory: Path, rows: Callable[..., list[Row]], spec: Callable[..., SlotSpec]
) -> None:
    from bitsandbytes.functional import dequantize_4bit  # type: ignore[import-not-found]

    quantised = load_base(base_directory, "cpu", quantization="4bit")
    plain = AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32)
    rounded = 0
    for name, module in quantised.model.named_modules():
        if type(module).__name__ == "Linear4bit":
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain.get_parameter(f"{name}.weight").data.copy_(weight)
            rounded += 1
    assert rounded == len(quantised.shape.linears) == 14
    slots = [spec("a", n_epochs=4), spec("b", rank=8, dropout=0.1, target_modules=("up_proj",))]
    ours = losses(quantised, slots, rows(8))
    oracle = as_base(
        plain, None, context_length=quantised.context_length, stop_ids=quantised.stop_ids
    )
    theirs = losses(oracle, slots, rows(8))
    for name, each in theirs.items():
        assert ours[name] == pytest.approx(each, rel=1e-3)
    assert ours["a"][-1] < ours["a"][0]
