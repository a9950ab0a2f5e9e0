"""Preferences: DPO as stock PEFT computes it, with the slot switched off as the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that every torch user knows
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from tunesmith.workers.trainer.adapter import AdapterFiles, read_tensors
from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.data_order import DataOrder
from tunesmith.workers.trainer.errors import ExampleInvalid, HyperparameterInvalid
from tunesmith.workers.trainer.render import Pair, Renderer, Row
from tunesmith.workers.trainer.report import Report, StepReport
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]
BETA = 0.3


@pytest.fixture
def pairs(rows: Rows) -> Callable[..., list[Pair]]:
    """Random pairs; both rows of one have the example's number."""

    def make(count: int, seed: int = 0) -> list[Pair]:
        return [
            Pair(first, Row(second.input_ids, second.loss_mask, first.example))
            for first, second in zip(rows(count, seed), rows(count, seed + 1000), strict=True)
        ]

    return make


@pytest.fixture
def dpo(spec: Spec) -> Spec:
    def make(name: str = "a", **fields: object) -> SlotSpec:
        return spec(name, method="dpo", beta=BETA, n_epochs=4, weight_decay=0.01, **fields)

    return make


def finish(cohort: Cohort) -> list[StepReport]:
    reports: list[Report] = []
    while not cohort.idle:
        reports += cohort.step()
    for report in reports:
        assert isinstance(report, StepReport), report
    return [report for report in reports if isinstance(report, StepReport)]


def log_prob(model: torch.nn.Module, row: Row) -> torch.Tensor:
    ids = torch.tensor([list(row.input_ids)])
    learned = torch.tensor(list(row.loss_mask), dtype=torch.bool)
    predicted = model(input_ids=ids).logits[0, :-1].log_softmax(-1)[learned[1:]]
    found: torch.Tensor = predicted.gather(1, ids[0, learned].unsqueeze(1)).sum()
    return found


def test_it_equals_stock_peft(
    base_directory: Path, base: Base, pairs: Callable[..., list[Pair]], dpo: Spec
) -> None:
    data, slot = pairs(14), dpo()
    cohort = Cohort(base)
    cohort.join(slot, data)
    cohort.join(dpo("beside", rank=8), pairs(9, seed=5))
    initial = read_tensors(cohort.adapter("a"))
    reports = [report for report in finish(cohort) if report.slot == "a"]

    stock = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32),
        LoraConfig(r=slot.rank, lora_alpha=slot.alpha, target_modules="all-linear"),
    )
    named = {
        name.replace(".default", ""): parameter
        for name, parameter in stock.named_parameters()
        if parameter.requires_grad
    }
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(initial[name])
    optimizer = torch.optim.AdamW(
        named.values(), lr=slot.learning_rate, weight_decay=slot.weight_decay
    )
    order = DataOrder(len(data), slot.batch_size, slot.n_epochs, slot.seed)
    assert len(reports) == order.total_steps == 16
    for step, report in enumerate(reports):
        margins = []
        for pair in (data[index] for index in order.batch(step)):
            with torch.no_grad(), stock.disable_adapter():
                reference = [log_prob(stock, row) for row in pair.rows]
            policy = [log_prob(stock, row) for row in pair.rows]
            margins.append(BETA * (policy[0] - reference[0] - policy[1] + reference[1]))
        margin = torch.stack(margins)
        loss = -F.logsigmoid(margin).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(named.values(), slot.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = report.learning_rate
        optimizer.step()
        optimizer.zero_grad()
        assert report.loss == pytest.approx(float(loss.detach()), rel=1e-4, abs=1e-6)
        assert report.reward_margin == pytest.approx(float(margin.detach().mean()), abs=1e-3)
        assert report.reward_accuracy == pytest.approx(float((margin > 0).float().mean()))
    assert reports[0].loss == pytest.approx(0.6931, abs=1e-4)
    assert reports[-1].reward_accuracy == 1.0
    final = read_tensors(cohort.adapter("a"))
    for name, theirs in named.items():
        assert float((final[name] - theirs.detach()).norm() / theirs.detach().norm()) < 1e-3, name


@pytest.mark.parametrize("stop", [0, 1, 5])
def test_resume_is_bit_exact(
    base: Base, pairs: Callable[..., list[Pair]], dpo: Spec, stop: int
) -> None:
    data, held_out = pairs(10), pairs(3, seed=7)
    cohort = Cohort(base)
    cohort.join(dpo(dropout=0.2), data, held_out)
    while cohort.progress("a").step < stop:
        cohort.step()
    kept = cohort.state("a").to_bytes()
    finish(cohort)
    expected, state = cohort.adapter("a").digest, cohort.state("a").to_bytes()
    cohort.leave("a")
    cohort.join(dpo("neighbour"), pairs(6, seed=3))
    cohort.join(dpo(dropout=0.2), data, held_out, state=kept)
    finish(cohort)
    assert cohort.adapter("a").digest == expected
    assert cohort.state("a").to_bytes() == state


def test_a_continued_adapter_is_part_of_the_reference(
    base: Base, base_directory: Path, rows: Rows, pairs: Callable[..., list[Pair]],
    dpo: Spec, spec: Spec, tmp_path: Path,
) -> None:  # fmt: skip
    cohort = Cohort(base)
    cohort.join(spec("parent"), rows(8))
    finish(cohort)
    parent: AdapterFiles = cohort.adapter("parent")
    cohort.leave("parent")
    data = pairs(4)
    cohort.join(dpo(), data, initial_adapter=parent)
    reports = finish(cohort)
    assert reports[0].loss == pytest.approx(0.6931, abs=1e-4)
    assert reports[0].reward_margin == pytest.approx(0, abs=1e-4)
    parent.write(tmp_path)
    stock = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32), tmp_path
    )
    with torch.no_grad():
        theirs = [float(log_prob(stock, row)) for row in data[0].rows]
    assert cohort.state("a").tensors["references"][0].tolist() == pytest.approx(theirs, rel=1e-4)


def test_rows_and_pairs_are_not_mixed_up(
    base: Base, rows: Rows, pairs: Callable[..., list[Pair]], dpo: Spec, spec: Spec
) -> None:
    cohort = Cohort(base)
    with pytest.raises(HyperparameterInvalid, match="pairs for dpo"):
        cohort.join(dpo(), rows(4))
    with pytest.raises(HyperparameterInvalid, match="rows for supervised"):
        cohort.join(spec(), pairs(4))


def test_pairs_are_rendered_with_only_the_answers_learned(renderer: Renderer) -> None:
    prompt = [
        {"role": "user", "content": "the printer is full"},
        {"role": "assistant", "content": "of what?"},
        {"role": "user", "content": "of old jobs"},
    ]
    example = {
        "messages": prompt,
        "preferred": [{"role": "assistant", "content": "please send the queue"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    }
    pair, truncated = renderer.render_pair(example, 3)
    assert not truncated
    assert pair.example == pair.rejected.example == 3
    before = renderer.prompt_ids(prompt)
    for row in pair.rows:
        assert list(row.input_ids[: len(before)]) == before
        assert row.loss_mask == bytes(len(before)) + b"\x01" * (len(row) - len(before))
    same = example | {"rejected": example["preferred"]}
    with pytest.raises(ExampleInvalid, match="nothing to prefer"):
        renderer.render_pair(same, 3)
    with pytest.raises(ExampleInvalid, match="rejected must be a list"):
        renderer.render_pair(example | {"rejected": None}, 3)
