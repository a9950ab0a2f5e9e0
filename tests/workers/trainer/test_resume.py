"""A slot that was stopped goes on as if it had never stopped, in every bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tunesmith.workers.trainer.__main__ import main
from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.checkpoint import SlotState
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.errors import StateCorrupt, StateMismatch
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import Report, StepReport
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]


def finish(cohort: Cohort) -> list[Report]:
    reports: list[Report] = []
    while not cohort.idle:
        reports += cohort.step()
    return reports


def comparable(reports: list[Report]) -> list[StepReport]:
    return [replace(report, seconds=0.0) for report in reports if isinstance(report, StepReport)]


def state_after(cohort: Cohort, step: int) -> bytes:
    while cohort.progress("a").step < step:
        cohort.step()
    return cohort.state("a").to_bytes()


@pytest.mark.parametrize("stop", [0, 1, 4, 7, 12])
def test_resume_through_bytes_is_bit_exact_with_dropout(
    base_directory: Path, rows: Rows, spec: Spec, stop: int
) -> None:
    slot = spec(dropout=0.25, n_epochs=3, weight_decay=0.01, validate_every=3)
    data, held_out = rows(15, seed=1), rows(5, seed=2)
    straight = Cohort(load_base(base_directory, device="cpu"))
    straight.join(slot, data, held_out)
    reports = comparable(finish(straight))

    first = Cohort(load_base(base_directory, device="cpu"))
    first.join(slot, data, held_out)
    kept = state_after(first, stop)
    second = Cohort(load_base(base_directory, device="cpu"))
    second.join(spec("somebody-else", dropout=0.5), rows(9, seed=3))
    progress = second.join(slot, data, held_out, state=kept)
    assert progress.step == stop
    assert progress.finished == (stop == 12 and SlotState.from_bytes(kept).pending is None)
    resumed = comparable([report for report in finish(second) if report.slot == "a"])

    assert [report.step for report in resumed] == [r.step for r in reports][-len(resumed) or 99 :]
    assert resumed == reports[len(reports) - len(resumed) :]
    assert len(resumed) >= 12 - stop
    assert second.adapter("a").digest == straight.adapter("a").digest
    assert second.state("a").to_bytes() == straight.state("a").to_bytes()


def test_a_state_taken_in_the_middle_of_a_batch_is_that_of_the_step_before(
    base: Base, rows: Rows, spec: Spec
) -> None:
    slot = spec(dropout=0.25, batch_size=8)
    data = rows(24, seed=1)
    cohort = Cohort(base, tokens_per_pass=1)  # one row at a time
    cohort.join(slot, data)
    at_step_2 = state_after(cohort, 2)
    for _ in range(5):
        assert cohort.step() == []
        assert cohort.state("a").to_bytes() == at_step_2
    finish(cohort)
    resumed = Cohort(base, tokens_per_pass=1)
    cohort.leave("a")
    resumed.join(slot, data, state=at_step_2)
    finish(resumed)
    straight = Cohort(base, tokens_per_pass=1)
    resumed_digest = resumed.adapter("a").digest
    resumed.leave("a")
    straight.join(slot, data)
    finish(straight)
    assert straight.adapter("a").digest == resumed_digest


def test_a_state_with_validation_under_way_validates_again(
    base: Base, rows: Rows, spec: Spec
) -> None:
    slot = spec(n_epochs=1, batch_size=4)
    data, held_out = rows(4), rows(20, seed=1)
    cohort = Cohort(base, tokens_per_pass=1)
    cohort.join(slot, data, held_out)
    while cohort.progress("a").step == 0:
        assert cohort.step() == []
    assert cohort.step() == []  # the first rows of the validation
    state = cohort.state("a")
    assert state.pending is not None
    [report] = finish(cohort)
    cohort.leave("a")
    cohort.join(slot, data, held_out, state=state)
    [again] = finish(cohort)
    assert isinstance(report, StepReport)
    assert report.validation is not None
    assert comparable([again]) == comparable([report])


def test_a_new_process_goes_on_to_the_same_digest(
    base_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = [
        {
            "messages": [
                {"role": "user", "content": f"ticket {number}: the printer is full"},
                {"role": "assistant", "content": ["printer", "invoice"][number % 2]},
            ]
        }
        for number in range(20)
    ]
    data = tmp_path / "examples.jsonl"
    data.write_text("".join(json.dumps(example) + "\n" for example in examples))

    def options(output: str, *more: str) -> list[str]:
        chosen = ["--base", str(base_directory), "--data", str(data), "--device", "cpu"]
        chosen += ["--threads", "1", "--epochs", "2", "--dropout", "0.1"]
        return [*chosen, "--output", str(tmp_path / output), *more]

    def here(output: str, *more: str) -> dict[str, object]:
        assert main(options(output, *more)) == 0
        return dict(json.loads(capsys.readouterr().out))

    straight = here("straight")
    state = str(tmp_path / "state")
    stopped = here("stopped", "--state", state, "--stop-after", "7")
    command = [sys.executable, "-m", "tunesmith.workers.trainer"]
    done = subprocess.run(
        [*command, *options("resumed", "--state", state)],
        check=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    resumed = json.loads(done.stdout)
    assert stopped["step"] == 7
    assert stopped["digest"] != straight["digest"]
    assert resumed["step"] == straight["step"] == straight["total_steps"] == 20
    assert resumed["digest"] == straight["digest"]
    files = [(tmp_path / run / "adapter_model.safetensors") for run in ("straight", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_damaged_states_are_refused(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    cohort.join(spec(), rows(8))
    good = state_after(cohort, 2)
    cohort.leave("a")
    header = 8 + int.from_bytes(good[:8], "little")
    damaged = {
        "empty": b"",
        "short": good[:-1],
        "cut header": good[:100],
        "no safetensors": b"hello" * 100,
        "flipped weight": good[: header + 9] + bytes([good[header + 9] ^ 1]) + good[header + 10 :],
        "altered step": good.replace(b'\\"step\\": 2', b'\\"step\\": 1'),
        "other format": good.replace(b'\\"format\\": 2', b'\\"format\\": 9'),
    }
    for reason, content in damaged.items():
        assert content != good, reason
        with pytest.raises(StateCorrupt):
            cohort.join(spec(), rows(8), state=content)
        assert cohort.slots == ()
    cohort.join(spec(), rows(8), state=good)


def test_states_of_something_else_are_refused(base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(base)
    data, held_out = rows(8), rows(3, seed=9)
    cohort.join(spec(), data, held_out)
    state = cohort.state("a")
    cohort.leave("a")
    for other, reason in (
        (spec(rank=8), "rank=4, not 8"),
        (spec(learning_rate=1e-3), "learning_rate=0.005, not 0.001"),
        (spec(seed=1), "seed=11, not 1"),
    ):
        with pytest.raises(StateMismatch, match=reason):
            cohort.join(other, data, held_out, state=state)
    with pytest.raises(StateMismatch, match="trained on other data"):
        cohort.join(spec(), rows(8, seed=5), held_out, state=state)
    with pytest.raises(StateMismatch, match="trained on other data"):
        cohort.join(spec(), data[::-1], held_out, state=state)
    with pytest.raises(StateMismatch, match="validated on other data"):
        cohort.join(spec(), data, state=state)
    tensors = {name: torch.zeros(3, 3) for name in state.tensors}
    with pytest.raises(StateMismatch, match="another base"):
        cohort.join(spec(), data, held_out, state=replace(state, tensors=tensors))
    assert cohort.slots == ()
    cohort.join(spec("any other name"), data, held_out, state=state)


def test_resuming_in_another_environment_is_logged(
    base: Base, rows: Rows, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    cohort = Cohort(base)
    cohort.join(spec(), rows(8))
    state = cohort.state("a")
    cohort.leave("a")
    cohort.join(spec(), rows(8), state=state)
    assert "environment" not in caplog.text
    cohort.leave("a")
    cohort.join(
        spec(), rows(8), state=replace(state, environment={**state.environment, "threads": 64})
    )
    assert "another environment" in caplog.text
