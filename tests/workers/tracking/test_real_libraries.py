"""A job in two parts, by the real libraries: W&B offline, MLflow on SQLite, TensorBoard's files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.workers.tracking.wandb_tracker import WandbRun

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "requirements" / "trackers.txt"
CONFIG = {"n_epochs": 3, "batch_size": 4, "base": "pocket"}
LOSSES = [[step, pytest.approx(1.0 / step)] for step in range(1, 7)]


@pytest.fixture(scope="module")
def trackers_python() -> Path:
    """The Python of an environment that has what the extra `trackers` needs, kept in build/."""
    place = ROOT / "build" / "trackers"
    python, stamp = place / "bin" / "python", place / "stamp"
    wanted = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version}"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-compile",
        "--no-deps",
        "--require-hashes",
        "-r",
        LOCK,
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = f"the trackers' libraries cannot be installed here: {done.stderr[-500:]}"
        assert not os.environ.get("CI"), why
        pytest.skip(f"{why}; give pip an index that has requirements/trackers.txt")
    stamp.write_text(wanted)
    return python


@pytest.fixture(scope="module")
def kept(trackers_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tracked")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TUNESMITH_", "WANDB_", "MLFLOW_"))
    }
    done = subprocess.run(
        [trackers_python, Path(__file__).with_name("real_libraries.py"), folder],
        env=environment | {"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'workers'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_mlflow_has_one_run_per_job(kept: dict[str, Any]) -> None:
    runs = kept["mlflow"]
    assert runs["ftjob-tracked"]["losses"] == LOSSES
    assert runs["ftjob-tracked"]["params"] == {name: str(value) for name, value in CONFIG.items()}
    assert {name: run["status"] for name, run in runs.items()} == {
        "ftjob-tracked": "FINISHED",
        "ftjob-not-for-wandb": "FAILED",
    }


def test_tensorboard_shows_every_step_once(kept: dict[str, Any]) -> None:
    runs = kept["tensorboard"]
    assert runs["ftjob-tracked"]["losses"] == LOSSES
    assert runs["ftjob-tracked"]["purged"] == [4]
    assert json.dumps(CONFIG, indent=1) in runs["ftjob-tracked"]["texts"]["config"]
    assert {name: run["texts"]["status"] for name, run in runs.items()} == {
        "ftjob-tracked": "succeeded",
        "ftjob-not-for-wandb": "failed",
    }


def test_wandb_has_the_run_that_was_asked_for_and_no_other(kept: dict[str, Any]) -> None:
    first, second = kept["wandb"]  # offline, each part has a file of its own
    for part in (first, second):
        assert (part["id"], part["project"]) == ("ftjob-tracked", "tickets")
        assert (part["name"], part["tags"]) == ("my run", ["a", "b"])
        assert part["config"].items() >= CONFIG.items()
    assert first["losses"] == LOSSES[:4]
    assert second["losses"] == LOSSES[3:]
    assert (first["status"], second["status"], second["exit"]) == ("queued", "succeeded", 0)
    assert kept["notes"] == []  # offline, there is no address


def test_no_tracker_loads_a_framework(kept: dict[str, Any]) -> None:
    assert kept["torch"] is False


def test_the_note_says_where_the_run_is() -> None:
    run = SimpleNamespace(offline=False, url="https://wandb.ai/acme/tickets/runs/ftjob-a")
    assert WandbRun(run).note == f"The job's W&B run: {run.url}"
