"""Training stops when validation no longer gets better, and the best adapter is the result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import StepReport
from tunesmith.workers.trainer.selection import Selection
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]


@pytest.fixture
def slot(spec: Spec) -> SlotSpec:
    """What is held out has nothing to do with what is trained, so it gets worse before long."""
    return spec(n_epochs=30, learning_rate=2e-2, patience=2)


def test_the_best_step_is_kept_and_training_stops(base: Base, rows: Rows, slot: SlotSpec) -> None:
    cohort = Cohort(base)
    cohort.join(slot, rows(8), rows(6, seed=9))
    adapters, validations = {}, {}
    last: StepReport | None = None
    while not cohort.idle:
        for report in cohort.step():
            assert isinstance(report, StepReport)
            last = report
            if report.validation is not None:
                adapters[report.step] = cohort.adapter("a").digest
                validations[report.step] = report.validation.loss
    assert last is not None
    assert last.stopped_early
    assert last.finished
    assert last.step < last.total_steps
    best = min(validations, key=lambda step: validations[step])
    assert last.best_step == best < last.step
    assert list(validations)[-3:] == [best, best + 2, best + 4]  # two more epochs of two steps
    assert cohort.adapter("a", best=True).digest == adapters[best]
    assert cohort.adapter("a").digest == adapters[last.step]
    assert cohort.step() == []
    assert cohort.progress("a").finished


def test_a_resumed_slot_knows_its_best(base: Base, rows: Rows, slot: SlotSpec) -> None:
    data, held_out = rows(8), rows(6, seed=9)
    cohort = Cohort(base)
    cohort.join(slot, data, held_out)
    states = {0: cohort.state("a").to_bytes()}
    while not cohort.idle:
        for report in cohort.step():
            assert isinstance(report, StepReport)
            states[report.step] = cohort.state("a").to_bytes()
    expected = cohort.adapter("a", best=True).digest
    final = max(states)
    for step in (0, final - 3, final - 2, final - 1, final):
        again = Cohort(base)
        progress = again.join(slot, data, held_out, state=states[step])
        assert progress.finished == (step == final)
        while not again.idle:
            again.step()
        assert again.progress("a").step == final
        assert again.adapter("a", best=True).digest == expected


def test_without_keep_best_the_last_is_the_result(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    cohort.join(spec(n_epochs=10, learning_rate=2e-2, keep_best=False), rows(8), rows(6, seed=9))
    while not cohort.idle:
        cohort.step()
    assert cohort.progress("a").step == 20
    assert cohort.adapter("a", best=True).digest == cohort.adapter("a").digest


@given(
    losses=st.lists(st.floats(0, 10), min_size=1, max_size=30),
    patience=st.none() | st.integers(1, 5),
    stop=st.integers(0, 30),
)
def test_selection(losses: list[float], patience: int | None, stop: int) -> None:
    selection = Selection(patience)
    for step, loss in enumerate(losses):
        if step == stop:  # through a checkpoint
            selection = Selection(patience, **selection.values())
        was_best = selection.consider(step, loss)
        assert was_best == (loss < min([*losses[:step], 11.0]))
        assert selection.best_loss == min(losses[: step + 1])
        assert losses[selection.best_step or 0] == selection.best_loss
        assert selection.worse == step - (selection.best_step or 0)
        assert selection.exhausted == (patience is not None and selection.worse >= patience)
