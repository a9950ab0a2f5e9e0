"""What a cohort's callers rely on: reports, validation, fairness, clear refusals."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tunesmith.workers.trainer.adapter import AdapterFiles, read_tensors
from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.errors import (
    AdapterInvalid,
    HyperparameterInvalid,
    SlotExists,
    SlotUnknown,
)
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import Report, SlotFailed, StepReport
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]


def finish(cohort: Cohort) -> list[StepReport]:
    reports: list[Report] = []
    while not cohort.idle:
        reports += cohort.step()
    for report in reports:
        assert isinstance(report, StepReport), report
    return [report for report in reports if isinstance(report, StepReport)]


def test_reports_tell_every_step(base: Base, rows: Rows, spec: Spec) -> None:
    data = rows(10)
    cohort = Cohort(base)
    progress = cohort.join(spec(n_epochs=3, batch_size=4, warmup_steps=2), data)
    assert (progress.step, progress.total_steps, progress.finished) == (0, 9, False)
    reports = finish(cohort)
    assert [report.step for report in reports] == list(range(1, 10))
    assert [report.epoch for report in reports] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [report.step for report in reports if report.epoch_ended] == [3, 6, 9]
    assert [report.step for report in reports if report.finished] == [9]
    total = sum(len(row) for row in data)
    learned = sum(row.learned_tokens for row in data)
    assert sum(report.tokens for report in reports[:3]) == total
    assert sum(report.learned_tokens for report in reports[:3]) == learned
    assert [report.trained_tokens for report in reports if report.epoch_ended] == [
        total, 2 * total, 3 * total,
    ]  # fmt: skip
    rates = [report.learning_rate for report in reports]
    assert rates[1] == rates[2] == max(rates) == 5e-3
    assert rates[0] == 2.5e-3
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] > 0
    for report in reports:
        assert report.loss > 0
        assert report.grad_norm > 0
        assert 0 <= report.mean_token_accuracy <= 1
        assert report.padded_tokens == report.tokens  # rows are packed
        assert report.seconds > 0
    assert reports[-1].loss < reports[0].loss
    assert cohort.progress("a").finished
    assert cohort.step() == []


def test_it_learns_what_it_is_taught(base: Base, spec: Spec) -> None:
    data = [Row(array("i", [10 + n, 20 + n, 30 + n, 2]), b"\0\0\x01\x01", n) for n in range(8)]
    cohort = Cohort(base)
    cohort.join(spec(n_epochs=40, learning_rate=2e-2, batch_size=4), data, data)
    last = finish(cohort)[-1]
    assert last.validation is not None
    assert last.validation.mean_token_accuracy == 1.0
    assert last.validation.loss < 1.0  # from about 6, the log of the vocabulary


def test_validation_is_the_mean_over_its_learned_tokens_without_dropout(
    base_directory: Path, base: Base, rows: Rows, spec: Spec, tmp_path: Path
) -> None:
    held_out = rows(7, seed=3)
    cohort = Cohort(base)
    cohort.join(spec(n_epochs=2, dropout=0.5), rows(8), held_out)
    reports = finish(cohort)
    assert [report.step for report in reports if report.validation] == [2, 4]
    cohort.adapter("a").write(tmp_path)
    stock = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32), tmp_path
    )
    loss, correct = 0.0, 0
    for row in held_out:
        ids = torch.tensor([list(row.input_ids)])
        learned = torch.tensor(list(row.loss_mask), dtype=torch.bool)
        with torch.no_grad():
            predicted = stock(input_ids=ids).logits[0, :-1].log_softmax(-1)[learned[1:]]
        wanted = ids[0, learned]
        loss -= float(predicted.gather(1, wanted.unsqueeze(1)).sum())
        correct += int((predicted.argmax(-1) == wanted).sum())
    validation = reports[-1].validation
    assert validation is not None
    assert validation.tokens == sum(row.learned_tokens for row in held_out)
    assert validation.loss == pytest.approx(loss / validation.tokens, rel=1e-5)
    assert validation.mean_token_accuracy == correct / validation.tokens


def test_validation_within_an_epoch(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    cohort.join(spec(n_epochs=1, batch_size=1, validate_every=3), rows(8), rows(2, seed=1))
    assert [report.step for report in finish(cohort) if report.validation] == [3, 6, 8]


def test_a_report_comes_before_the_next_step_changes_the_weights(
    base: Base, rows: Rows, spec: Spec
) -> None:
    cohort = Cohort(base, tokens_per_pass=100_000)
    cohort.join(spec(), rows(12))
    while not cohort.idle:
        [report] = cohort.step()
        assert isinstance(report, StepReport)
        assert cohort.progress("a").step == cohort.state("a").step == report.step


def test_short_rows_do_not_wait_for_a_neighbours_long_ones(
    base: Base, rows: Rows, spec: Spec
) -> None:
    """Until the small job ends, the large one computes no more than it, but for single rows."""
    cohort = Cohort(base, tokens_per_pass=200)
    longest = 200
    cohort.join(spec("large", batch_size=1, n_epochs=50), rows(64, seed=1, lengths=(150, longest)))
    for _ in range(20):
        cohort.step()
    before = cohort.progress("large").trained_tokens
    cohort.join(spec("small", batch_size=4, n_epochs=4), rows(40, seed=2, lengths=(6, 20)))
    while not cohort.progress("small").finished:
        cohort.step()
    small = cohort.progress("small").trained_tokens
    large = cohort.progress("large").trained_tokens - before
    assert small > 5 * longest
    assert abs(large - small) <= 2 * longest


def test_a_newcomer_is_not_paid_for_the_time_before_it_came(
    base: Base, rows: Rows, spec: Spec
) -> None:
    cohort = Cohort(base, tokens_per_pass=1)
    cohort.join(spec("old", n_epochs=100), rows(32, seed=1))
    for _ in range(100):
        cohort.step()
    cohort.join(spec("new", n_epochs=100), rows(32, seed=2))
    before = cohort.progress("old").step
    for _ in range(100):
        cohort.step()
    gained = cohort.progress("old").step - before
    assert gained > 0
    assert abs(gained - cohort.progress("new").step) <= 0.3 * gained


def test_rows_that_teach_nothing_are_refused(base: Base, spec: Spec) -> None:
    cohort = Cohort(base)
    silent = Row(array("i", [5, 6, 7]), bytes(3), 4)
    with pytest.raises(HyperparameterInvalid, match="example 5"):
        cohort.join(spec(), [silent])
    with pytest.raises(HyperparameterInvalid, match="at least one"):
        cohort.join(spec(), [])
    long = Row(array("i", [5] * 300), bytes(299) + b"\x01", 0)
    with pytest.raises(HyperparameterInvalid, match="at most 256"):
        cohort.join(spec(), [long])
    assert cohort.slots == ()


def test_names_are_unique_and_known(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    cohort.join(spec("ftjob-1.x/keys"), rows(4))
    with pytest.raises(SlotExists):
        cohort.join(spec("ftjob-1.x/keys"), rows(4))
    cohort.leave("ftjob-1.x/keys")
    for call in (cohort.state, cohort.adapter, cohort.progress, cohort.leave):
        with pytest.raises(SlotUnknown):
            call("ftjob-1.x/keys")


def test_targets(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    cohort.join(spec("attention", target_modules=("q_proj", "v_proj")), rows(4))
    cohort.join(spec("all"), rows(4))
    finish(cohort)
    assert len(read_tensors(cohort.adapter("attention"))) == 2 * 2 * 2
    assert len(read_tensors(cohort.adapter("all"))) == 2 * 7 * 2
    for target in ("lm_head", "embed_tokens", "nonsense"):
        with pytest.raises(HyperparameterInvalid, match="target_modules"):
            cohort.join(spec("other", target_modules=(target,)), rows(4))


def test_an_error_of_torch_fails_the_slot_alone(base: Base, rows: Rows, spec: Spec) -> None:
    """AdamW can't represent this rate and raises."""
    cohort = Cohort(base)
    cohort.join(spec("mine"), rows(8))
    cohort.join(spec("wild", learning_rate=1e39, warmup_steps=0), rows(8, seed=1))
    reports: list[Report] = []
    while not cohort.idle:
        reports += cohort.step()
    [failure] = [report for report in reports if isinstance(report, SlotFailed)]
    assert (failure.slot, failure.step) == ("wild", 1)
    assert "RuntimeError" in failure.reason
    assert cohort.slots == ("mine",)
    assert cohort.progress("mine").finished


@pytest.mark.parametrize(
    "fields",
    [
        {"rank": 0}, {"n_epochs": 0}, {"batch_size": 0}, {"alpha": 0.0}, {"dropout": 1.0},
        {"learning_rate": math.nan}, {"learning_rate": math.inf}, {"max_grad_norm": 0.0},
        {"weight_decay": -1.0}, {"betas": (1.0, 0.9)}, {"validate_every": 0},
        {"warmup_steps": -1}, {"eps": 0.0}, {"patience": 0}, {"schedule": "steep"},
        {"method": "ppo"}, {"beta": 0.0}, {"gradient_accumulation_steps": 0},
    ],
)  # fmt: skip
def test_impossible_specs_are_refused(spec: Spec, fields: dict[str, float]) -> None:
    with pytest.raises(HyperparameterInvalid, match=next(iter(fields))):
        spec(**fields)


def test_continuing_from_an_earlier_adapter(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    cohort.join(spec(), rows(8))
    first = finish(cohort)
    earlier = cohort.adapter("a")
    cohort.leave("a")
    cohort.join(spec(), rows(8), initial_adapter=earlier)
    assert cohort.adapter("a").digest == earlier.digest
    again = finish(cohort)
    assert again[0].loss < first[0].loss
    cohort.leave("a")
    for other in (spec(rank=8), spec(alpha=1.0), spec(target_modules=("q_proj",))):
        with pytest.raises(AdapterInvalid, match="continue from"):
            cohort.join(other, rows(8), initial_adapter=earlier)
    with pytest.raises(AdapterInvalid):
        cohort.join(spec(), rows(8), initial_adapter=AdapterFiles(earlier.config, b"broken"))
    assert cohort.slots == ()


def test_a_last_update_that_is_not_finite_fails_the_slot(
    base: Base, rows: Rows, spec: Spec
) -> None:
    cohort = Cohort(base)
    slot = spec(n_epochs=1, batch_size=8, learning_rate=1e20, weight_decay=1e25, warmup_steps=0)
    cohort.join(slot, rows(8))
    reports: list[Report] = []
    while not cohort.idle:
        reports += cohort.step()
    [failure] = reports
    assert isinstance(failure, SlotFailed)
    assert failure.step == 1
    assert "not finite" in failure.reason
    assert cohort.slots == ()


def test_dropout_draws_anew_for_every_pass(base: Base, rows: Rows, spec: Spec) -> None:
    """At a rate that changes nothing, only dropout can tell one step's gradient from another's."""
    cohort = Cohort(base)
    still = {"learning_rate": 1e-30, "n_epochs": 3, "batch_size": 1}
    cohort.join(spec("dropped", dropout=0.5, **still), rows(1))
    cohort.join(spec("whole", **still), rows(1))
    norms: dict[str, set[float]] = {"dropped": set(), "whole": set()}
    for report in finish(cohort):
        norms[report.slot].add(report.grad_norm)
    assert len(norms["whole"]) == 1
    assert len(norms["dropped"]) == 3


def test_the_global_generator_is_left_alone(base: Base, rows: Rows, spec: Spec) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    cohort = Cohort(base)
    cohort.join(spec(dropout=0.5), rows(8))
    finish(cohort)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_two_cohorts_on_one_base_do_not_disconnect_each_other(
    base: Base, rows: Rows, spec: Spec
) -> None:
    first = Cohort(base)
    first.join(spec(), rows(8))
    second = Cohort(base)
    second.join(spec(), rows(8))
    for cohort in (first, second):
        assert all(report.grad_norm > 0 for report in finish(cohort))
    assert first.adapter("a").digest == second.adapter("a").digest
