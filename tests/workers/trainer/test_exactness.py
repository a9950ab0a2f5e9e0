"""A slot gets what it would have got alone, and that is what stock PEFT with AdamW gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tunesmith.workers.trainer.adapter import read_tensors
from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.data_order import DataOrder
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import Report, SlotFailed, StepReport
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]


def run(cohort: Cohort, *, until: int | None = None, of: str = "") -> list[Report]:
    """Step until the cohort is idle, or until slot `of` has done `until` steps."""
    reports: list[Report] = []
    while not cohort.idle:
        if until is not None and cohort.progress(of).step >= until:
            break
        reports += cohort.step()
    return reports


def solo(
    base: Base, spec: SlotSpec, rows: list[Row], **settings: int
) -> tuple[bytes, list[Report]]:
    cohort = Cohort(base, **settings)
    cohort.join(spec, rows)
    reports = run(cohort)
    weights = cohort.adapter(spec.name).weights
    cohort.leave(spec.name)
    return weights, reports


class StockPeft:
    """The reference: an own copy of the base, get_peft_model, torch's AdamW, padded batches."""

    def __init__(self, directory: Path, spec: SlotSpec, initial: dict[str, torch.Tensor]) -> None:
        base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=spec.rank,
            lora_alpha=spec.alpha,
            target_modules="all-linear",
        )
        self.model = get_peft_model(base, config)
        self.model.train()
        self.named = {
            name.replace(".default", ""): parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }
        assert self.named.keys() == initial.keys()
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(initial[name])
        self.spec = spec
        self.optimizer = torch.optim.AdamW(
            self.named.values(), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )

    def backward(self, rows: list[Row]) -> float:
        width = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        attention = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(list(row.input_ids))
            attention[place, : len(row)] = 1
            for token, learned in enumerate(row.loss_mask):
                if learned:
                    labels[place, token] = row.input_ids[token]
        loss = self.model(input_ids=ids, attention_mask=attention, labels=labels).loss
        loss.backward()
        return float(loss.detach())

    def train(self, rows: list[Row], steps: int) -> list[float]:
        spec = self.spec
        order = DataOrder(len(rows), spec.batch_size, spec.n_epochs, spec.seed)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: (
                (step + 1) / spec.warmup_steps
                if step < spec.warmup_steps
                else (order.total_steps - step) / (order.total_steps - spec.warmup_steps)
            ),
        )
        losses = []
        for step in range(steps):
            losses.append(self.backward([rows[index] for index in order.batch(step)]))
            torch.nn.utils.clip_grad_norm_(self.named.values(), spec.max_grad_norm)
            self.optimizer.step()
            schedule.step()
            self.optimizer.zero_grad()
        return losses


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    theirs = theirs.detach()
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))


def test_two_slots_with_joins_and_leaves_equal_stock_peft_after_20_steps(
    base_directory: Path, base: Base, rows: Rows, spec: Spec
) -> None:
    first = spec("first", rank=4, alpha=8.0, learning_rate=5e-3, batch_size=4, n_epochs=4)
    second = spec("second", rank=8, alpha=32.0, learning_rate=1e-3, batch_size=3, n_epochs=4)
    data = {"first": rows(20, seed=1), "second": rows(15, seed=2, lengths=(10, 60))}
    cohort = Cohort(base, tokens_per_pass=64)
    initial = {}
    cohort.join(first, data["first"])
    initial["first"] = read_tensors(cohort.adapter("first"))
    reports = run(cohort, until=3, of="first")
    cohort.join(spec("passer-by", rank=2, dropout=0.3, n_epochs=50), rows(9, seed=3))
    reports += run(cohort, until=5, of="first")
    cohort.join(second, data["second"])
    initial["second"] = read_tensors(cohort.adapter("second"))
    reports += run(cohort, until=10, of="second")
    cohort.leave("passer-by")
    reports += run(cohort)

    for slot in (first, second):
        stock = StockPeft(base_directory, slot, initial[slot.name])
        losses = stock.train(data[slot.name], 20)
        ours = [r.loss for r in reports if isinstance(r, StepReport) and r.slot == slot.name]
        assert ours == pytest.approx(losses, rel=1e-5)
        final = read_tensors(cohort.adapter(slot.name))
        for name, theirs in stock.named.items():
            assert relative(final[name], theirs.detach()) < 2e-4, name
            assert (
                relative(final[name] - initial[slot.name][name], theirs - initial[slot.name][name])
                < 1e-3
            )


def test_step_0_gradient_equals_stock_peft(
    base_directory: Path, base: Base, rows: Rows, spec: Spec
) -> None:
    """After one step of AdamW from zero moments, exp_avg is (1 - beta1) times the gradient."""
    slot = spec("a", max_grad_norm=1e9)
    data = rows(12, seed=4)
    cohort = Cohort(base)
    cohort.join(slot, data)
    initial = read_tensors(cohort.adapter("a"))
    run(cohort, until=1, of="a")
    state = cohort.state("a")
    assert state.step == 1
    stock = StockPeft(base_directory, slot, initial)
    stock.backward([data[index] for index in DataOrder(12, 4, 2, 11).batch(0)])
    compared = 0
    for name, parameter in stock.named.items():
        ours = state.tensors["exp_avg/" + name[len("base_model.model.") : -len(".weight")]] / 0.1
        assert parameter.grad is not None
        if name.endswith("lora_A.weight"):
            assert not parameter.grad.any()  # B is zero at the start
            assert not ours.any()
        else:
            assert relative(ours, parameter.grad) < 5e-6, name
            compared += 1
    assert compared == 14


def test_neighbours_change_no_bit(base_directory: Path, rows: Rows, spec: Spec) -> None:
    mine = spec("mine", dropout=0.2, n_epochs=3)
    data = rows(13, seed=5)
    alone, reports = solo(load_base(base_directory, device="cpu"), mine, data, tokens_per_pass=90)
    results = {alone}
    for neighbour_seed, lengths in ((6, (6, 24)), (7, (100, 200))):
        cohort = Cohort(load_base(base_directory, device="cpu"), tokens_per_pass=90)
        cohort.join(
            spec("before", rank=8, dropout=0.5), rows(9, seed=neighbour_seed, lengths=lengths)
        )
        cohort.step()
        cohort.join(mine, data)
        beside = run(cohort, until=2, of="mine")
        cohort.join(spec("after", rank=2, seed=9), rows(40, seed=neighbour_seed + 9))
        cohort.leave("before")
        beside += run(cohort)
        results.add(cohort.adapter("mine").weights)
        ours = [r for r in beside if r.slot == "mine"]
        assert [(r.loss, r.grad_norm) for r in ours if isinstance(r, StepReport)] == [
            (r.loss, r.grad_norm) for r in reports if isinstance(r, StepReport)
        ]
    assert len(results) == 1


def test_a_name_has_no_influence(base: Base, rows: Rows, spec: Spec) -> None:
    data = rows(8)
    assert solo(base, spec("one"), data)[0] == solo(base, spec("keys"), data)[0]
    assert solo(base, spec("one"), data)[0] != solo(base, spec("one", seed=12), data)[0]


def test_the_size_of_passes_changes_rounding_only(base: Base, rows: Rows, spec: Spec) -> None:
    data = rows(12)
    _, fine = solo(base, spec(), data, tokens_per_pass=1)
    _, coarse = solo(base, spec(), data, tokens_per_pass=100_000)
    assert [r.loss for r in fine if isinstance(r, StepReport)] == pytest.approx(
        [r.loss for r in coarse if isinstance(r, StepReport)], rel=1e-5
    )


def test_a_diverging_neighbour_fails_alone(base: Base, rows: Rows, spec: Spec) -> None:
    mine = spec("mine")
    data = rows(12, seed=5)
    alone, _ = solo(base, mine, data)
    cohort = Cohort(base)
    cohort.join(mine, data)
    cohort.join(spec("wild", learning_rate=1e30, warmup_steps=0, batch_size=2), rows(8, seed=6))
    reports = run(cohort)
    failures = [report for report in reports if isinstance(report, SlotFailed)]
    assert [failure.slot for failure in failures] == ["wild"]
    assert failures[0].step == 2
    batch = DataOrder(8, 2, 2, 11).batch(1)
    assert failures[0].example in batch
    assert "step 2" in failures[0].reason
    assert cohort.slots == ("mine",)
    assert cohort.adapter("mine").weights == alone


def test_the_base_computes_what_it_did_before_and_after_slots(
    base_directory: Path, rows: Rows, spec: Spec
) -> None:
    base = load_base(base_directory, device="cpu")
    ids = torch.arange(3, 40).unsqueeze(0)
    with torch.no_grad():
        before = base.model(input_ids=ids).logits
    weights = {name: value.clone() for name, value in base.model.named_parameters()}
    for _ in range(2):
        solo(base, spec(), rows(8))
        with torch.no_grad():
            assert torch.equal(base.model(input_ids=ids).logits, before)
        after = {name.replace(".base.", "."): p for name, p in base.model.named_parameters()}
        assert after.keys() == weights.keys()
        assert all(torch.equal(after[name], weights[name]) for name in weights)
