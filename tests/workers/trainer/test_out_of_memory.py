"""A device that has no room for rows above a length: what happens to whose slot, and nobody else.

The pass itself is made to fail, as torch's allocators make it; `test_memory` has a real limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tunesmith.workers.trainer import passes
from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.errors import HyperparameterInvalid
from tunesmith.workers.trainer.passes import Work
from tunesmith.workers.trainer.render import Pair, Row
from tunesmith.workers.trainer.report import Report, SlotFailed, StepReport
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]
Limit = Callable[[int], None]


@pytest.fixture
def room_for(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """From then on a pass of more than so many tokens finds no memory."""

    def limit(tokens: int) -> None:
        def score(base: Base, adapters: Any, works: Sequence[Work]) -> Any:
            if sum(len(row) for work in works for row in work.rows) > tokens:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes")
            return passes.score(base, adapters, works)

        monkeypatch.setattr("tunesmith.workers.trainer.cohort.score", score)

    return limit


def run(cohort: Cohort) -> list[Report]:
    reports: list[Report] = []
    while not cohort.idle:
        reports += cohort.step()
    return reports


def test_neighbours_of_a_pass_that_failed_end_with_the_bits_they_have_alone(
    base: Base, rows: Rows, spec: Spec, room_for: Limit
) -> None:
    small, data = spec("small", dropout=0.2), rows(9, lengths=(6, 12))
    alone = Cohort(base)
    alone.join(small, data, data[:2])
    run(alone)
    cohort = Cohort(base)
    cohort.join(small, data, data[:2])
    cohort.join(spec("large"), rows(8, seed=1, lengths=(100, 100)))
    room_for(210)
    reports = run(cohort)
    assert [r for r in reports if isinstance(r, SlotFailed)] == []
    assert sum(report.slot == "large" for report in reports) == 4
    assert cohort.adapter("small").digest == alone.adapter("small").digest
    assert cohort.state("small").to_bytes() == alone.state("small").to_bytes()


def test_no_part_of_a_failed_batch_is_learned_twice(
    base: Base, rows: Rows, spec: Spec, room_for: Limit, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that fit came before one that only fits alone: each counts once."""
    data = [*rows(6, lengths=(10, 10)), *rows(2, seed=1, lengths=(150, 150))]
    losses = []
    for limit in (100_000, 160):
        cohort = Cohort(base)
        cohort.join(spec(batch_size=8, n_epochs=3), data)
        room_for(limit)
        reports = [report for report in run(cohort) if isinstance(report, StepReport)]
        losses.append([(report.loss, report.grad_norm) for report in reports])
        assert {report.tokens for report in reports} == {360}
    assert "slot a takes 180 tokens" in caplog.text
    assert "slot a takes" in caplog.text.partition("takes 180")[2]  # with some rows done
    for ours, plenty in zip(losses[1], losses[0], strict=True):
        assert ours == pytest.approx(plenty, rel=1e-4)


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_a_validation_row_without_room_is_not_taken_for_a_training_example(
    base: Base, rows: Rows, spec: Spec, room_for: Limit, method: str
) -> None:
    data, held_out = rows(4, lengths=(10, 20)), rows(6, seed=1, lengths=(100, 100))
    items: tuple[Sequence[Any], Sequence[Any]] = (data, held_out)
    if method == "dpo":
        items = ([Pair(row, row) for row in data], [Pair(row, row) for row in held_out])
    cohort = Cohort(base)
    cohort.join(spec(method=method), *items)
    room_for(90)
    (failure,) = [report for report in run(cohort) if isinstance(report, SlotFailed)]
    assert failure.out_of_memory
    assert failure.example is None
    assert "validation example" in failure.reason
    assert cohort.slots == ()


def test_a_training_row_without_room_is_named(
    base: Base, rows: Rows, spec: Spec, room_for: Limit
) -> None:
    cohort = Cohort(base)
    cohort.join(spec(), [*rows(3, lengths=(10, 20)), *rows(4, seed=1, lengths=(100, 100))[3:]])
    room_for(90)
    (failure,) = [report for report in run(cohort) if isinstance(report, SlotFailed)]
    assert (failure.step, failure.example, failure.out_of_memory) == (1, 3, True)
    assert "example 4 alone (100 tokens), gradient checkpointing on" in failure.reason


@pytest.mark.parametrize("token", [-1, 384, 2**31 - 1])
def test_tokens_that_the_base_does_not_have_are_refused(
    base: Base, rows: Rows, spec: Spec, token: int
) -> None:
    cohort = Cohort(base)
    bad = Row.of([5, token, 6], b"\0\1\1", 7)
    for data in (([*rows(2), bad],), (rows(2), [bad])):
        with pytest.raises(HyperparameterInvalid, match="token ids of example 8 must be below 384"):
            cohort.join(spec(), *data)
    assert cohort.slots == ()
