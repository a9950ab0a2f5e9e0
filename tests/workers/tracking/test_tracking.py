"""Training neither waits for a tracker nor fails with it; what it is told is whole, in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.training import StepMetrics
from tunesmith.platform.settings import Settings
from tunesmith.workers.tracking import choice
from tunesmith.workers.tracking.choice import chosen_trackers
from tunesmith.workers.tracking.tracker import TrackedJob
from tunesmith.workers.tracking.tracking import KEPT_STEPS, Tracking
from tunesmith.workers.tracking.wandb_tracker import WandbTracker


@dataclass
class Remembering:
    """A tracker, and its own runs, that keeps what it is told."""

    name: str = "remembering"
    told: list[Any] = field(default_factory=list)
    open_runs: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    fails: Callable[[str], None] = lambda _: None
    note: str | None = "seen at http://tracker"

    def runs(self, job: TrackedJob) -> Sequence[str]:
        return [job.id]

    def begin(self, job: TrackedJob, which: str) -> Remembering:
        self.gate.wait()
        self.fails("begin")
        self.open_runs += 1
        assert self.open_runs == 1, "two runs of one job at once"
        self.told.append(("begin", job.resume_step))
        return self

    def log(self, steps: Sequence[StepMetrics]) -> None:
        self.fails("log")
        self.told += [step.step for step in steps]

    def close(self, status: str) -> None:
        self.fails("close")
        self.open_runs -= 1
        self.told.append(status)


def steps(first: int, last: int) -> list[StepMetrics]:
    return [StepMetrics(step, 9, 1.0, 0.5) for step in range(first, last + 1)]


def ignore(_: str) -> None:
    return


@given(parts=st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=4))
def test_a_run_is_told_everything_in_order_however_often_it_is_taken_up(
    parts: list[list[int]],
) -> None:
    tracker = Remembering()
    tracker.gate.set()
    tracking = Tracking([tracker])
    expected: list[Any] = []
    at = 0
    for number, part in enumerate(parts):
        tracking.begin(TrackedJob("j", {}, at), note=ignore)
        expected.append(("begin", at))
        for count in part:
            tracking.log("j", steps(at + 1, at + count))
            expected += range(at + 1, at + count + 1)
            at += count
        tracking.end("j", lambda n=number: f"status {n}")  # type: ignore[misc]
        expected.append(f"status {number}")
    tracking.close(within=60)
    assert tracker.told == expected


def test_a_tracker_that_hangs_costs_steps_of_its_own_alone() -> None:
    slow, good = Remembering("slow"), Remembering("good")
    good.gate.set()
    tracking = Tracking([slow, good])
    tracking.begin(TrackedJob("j", {}), note=ignore)
    with structlog.testing.capture_logs() as logs:
        for start in range(0, KEPT_STEPS + 20, 10):
            tracking.log("j", steps(start + 1, start + 10))
        tracking.end("j", lambda: "succeeded")
        tracking.close(within=0.2)  # it hangs still: whoever stops does not wait for it
    assert slow.told == []
    slow.gate.set()
    tracking.close(within=60)
    assert slow.told == [("begin", 0), *range(1, KEPT_STEPS + 1), "succeeded"]
    assert good.told[-1] == "succeeded"
    slow_logs = [entry for entry in logs if entry["tracker"] == "slow"]
    assert [entry["event"] for entry in slow_logs] == ["slow tracker: steps are left out"]


@pytest.mark.parametrize("where", ["begin", "log", "close"])
def test_a_tracker_that_fails_is_said_once_and_left(where: str) -> None:
    def fail(at: str) -> None:
        if at == where:
            raise RuntimeError("no such project\nwith a long trace")

    bad, good = Remembering("bad", fails=fail), Remembering("good")
    bad.gate.set()
    good.gate.set()
    tracking = Tracking([bad, good])
    with structlog.testing.capture_logs() as logs:
        tracking.begin(TrackedJob("j", {}), note=ignore)
        for step in range(1, 50):
            tracking.log("j", steps(step, step))
        tracking.end("j", lambda: "succeeded")
        tracking.close(within=60)
    assert [(entry["tracker"], entry["job_id"], entry["why"]) for entry in logs] == [
        ("bad", "j", "RuntimeError: no such project")
    ]
    assert good.told == [("begin", 0), *range(1, 50), "succeeded"]


def test_the_job_is_told_where_its_run_is_the_first_time() -> None:
    notes: list[str] = []
    tracker = Remembering()
    tracker.gate.set()
    tracking = Tracking([tracker])
    for resume_step in (0, 4):
        tracking.begin(TrackedJob("j", {}, resume_step), note=notes.append)
        tracking.end("j", lambda: "queued")
    tracking.close(within=60)
    assert notes == ["seen at http://tracker"]


def test_wandb_runs_are_those_that_the_client_asked_for(tmp_path: Path) -> None:
    def wanted(integrations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return list(WandbTracker(tmp_path).runs(TrackedJob("j", {}, 0, integrations)))

    first, again = {"project": "a", "name": "x"}, {"project": "a", "name": "y"}
    other = {"project": "a", "entity": "acme"}
    assert wanted([]) == []
    assert wanted([{"type": "other"}, {"type": "wandb"}, {"type": "wandb", "wandb": {}}]) == []
    assert wanted([{"type": "wandb", "wandb": w} for w in (first, other, again)]) == [again, other]


def test_a_missing_library_is_said_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"wandb is not installed.*tunesmith\[trackers\]"):
        chosen_trackers(Settings(home=tmp_path, trackers=["wandb"]))
    assert chosen_trackers(Settings(home=tmp_path)) == []


def test_mlflow_without_an_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    with pytest.raises(InvalidRequest, match="TUNESMITH_MLFLOW_TRACKING_URI"):
        chosen_trackers(Settings(home=tmp_path, trackers=["mlflow"]))


def test_each_tracker_is_chosen_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    monkeypatch.setenv("TUNESMITH_TRACKERS", "tensorboard, wandb,tensorboard")
    found = chosen_trackers(Settings(home=tmp_path))
    assert [tracker.name for tracker in found] == ["tensorboard", "wandb"]
