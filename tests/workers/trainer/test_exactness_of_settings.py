"""Every setting of a slot does what stock PEFT with torch's own AdamW and clipping does with it."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, get_scheduler

from tunesmith.workers.trainer.adapter import read_tensors
from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.data_order import DataOrder
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import StepReport
from tunesmith.workers.trainer.schedule import learning_rate
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]

SETTINGS: dict[str, dict[str, Any]] = {
    "cosine": {"schedule": "cosine", "warmup_steps": 3, "rank": 2},
    "constant": {"schedule": "constant", "warmup_steps": 2, "rank": 8, "batch_size": 3},
    "clipped": {"max_grad_norm": 0.05, "weight_decay": 0.3, "rank": 3, "alpha": 48.0},
    "accumulated": {"batch_size": 2, "gradient_accumulation_steps": 3, "warmup_steps": 0},
    "some layers": {"target_modules": ("v_proj", "gate_proj"), "batch_size": 7, "rank": 5},
}


def train_with_peft(
    directory: Path, slot: SlotSpec, data: list[Row], initial: dict[str, torch.Tensor]
) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """Losses, norms before clipping and final weights, computed row by row without padding."""
    base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    targets = list(slot.target_modules) or "all-linear"
    model = get_peft_model(
        base, LoraConfig(r=slot.rank, lora_alpha=slot.alpha, target_modules=targets)
    )
    named = {
        name.replace(".default", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert named.keys() == initial.keys()
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(initial[name])
    optimizer = torch.optim.AdamW(
        named.values(), lr=slot.learning_rate, weight_decay=slot.weight_decay
    )
    order = DataOrder(len(data), slot.items_per_step, slot.n_epochs, slot.seed)
    name = "constant_with_warmup" if slot.schedule == "constant" else slot.schedule
    # Its warm-up starts at zero, where nothing is learned; the trainer's one step later.
    schedule = get_scheduler(name, optimizer, slot.warmup_steps, order.total_steps)
    losses, norms = [], []
    for step in range(order.total_steps):
        batch = [data[index] for index in order.batch(step)]
        learned = sum(row.learned_tokens for row in batch)
        total = 0.0
        for row in batch:
            ids = torch.tensor([list(row.input_ids)])
            labels = torch.where(torch.tensor(list(row.loss_mask)) == 1, ids, -100)
            mean = model(input_ids=ids, labels=labels).loss
            loss = mean * row.learned_tokens / learned
            loss.backward()
            total += float(loss.detach())
        losses.append(total)
        norms.append(float(torch.nn.utils.clip_grad_norm_(named.values(), slot.max_grad_norm)))
        if slot.warmup_steps > step:
            for group in optimizer.param_groups:
                group["lr"] = slot.learning_rate * (step + 1) / slot.warmup_steps
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return losses, norms, {key: value.detach() for key, value in named.items()}


def test_settings_beside_each_other(
    base_directory: Path, base: Base, rows: Rows, spec: Spec
) -> None:
    slots = {name: spec(name, n_epochs=3, **settings) for name, settings in SETTINGS.items()}
    data = {
        name: rows(11 + number, seed=number, lengths=(5, 30 + 10 * number))
        for number, name in enumerate(slots)
    }
    cohort = Cohort(base)
    for name, slot in slots.items():
        cohort.join(slot, data[name])
    initial = {name: read_tensors(cohort.adapter(name)) for name in slots}
    reports: dict[str, list[StepReport]] = {name: [] for name in slots}
    while not cohort.idle:
        for report in cohort.step():
            assert isinstance(report, StepReport), report
            reports[report.slot].append(report)
    for name, slot in slots.items():
        losses, norms, final = train_with_peft(base_directory, slot, data[name], initial[name])
        assert [report.loss for report in reports[name]] == pytest.approx(losses, rel=1e-4), name
        ours = [report.grad_norm for report in reports[name]]
        assert ours == pytest.approx(norms, rel=1e-3), name
        trained = read_tensors(cohort.adapter(name))
        for key, theirs in final.items():
            apart = (trained[key] - theirs).norm() / theirs.norm().clamp_min(1e-9)
            assert float(apart) < 1e-3, (name, key)
    assert (
        min(report.grad_norm for report in reports["clipped"])
        > SETTINGS["clipped"]["max_grad_norm"]
    )


def test_what_a_slot_held_is_free_when_it_leaves(base: Base, rows: Rows, spec: Spec) -> None:
    """At once, not when the garbage collector comes by: on a GPU the next slot needs the room."""
    cohort = Cohort(base)
    cohort.join(spec("other"), rows(4))
    gc.collect()
    gc.disable()
    try:
        held = {id(each) for each in gc.get_objects() if type(each) is torch.nn.Parameter}
        cohort.join(spec(dropout=0.1), rows(8), rows(2, seed=1))
        mine = [
            weakref.ref(each)
            for each in gc.get_objects()
            if type(each) is torch.nn.Parameter and id(each) not in held
        ]
        assert len(mine) == 1
        while not cohort.progress("a").finished:
            cohort.step()
        cohort.leave("a")
        assert mine[0]() is None
    finally:
        gc.enable()


def test_schedules_end_as_they_are_drawn() -> None:
    for step in range(10):
        linear, cosine, constant = (
            learning_rate(step, 10, 0, 1.0, kind) for kind in ("linear", "cosine", "constant")
        )
        assert linear == pytest.approx(1 - step / 10)
        assert cosine == pytest.approx((1 + math.cos(math.pi * step / 10)) / 2)
        assert constant == 1.0
