"""What trainers ask Ray for, and what jobs are told while there is none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.settings import Settings
from tunesmith.workers.dispatcher.needs import Needs, of_reader, of_trainer, waiting_for

HEAD: dict[str, float] = {"memory": 8e9}
CPUS = HEAD | {"CPU": 4.0}
GPUS = CPUS | {"GPU": 2.0}


def settings(home: Path, **values: Any) -> Settings:
    return Settings(home=home, **values)


@pytest.mark.parametrize(
    ("device", "total", "gpus"),
    [
        ("cpu", GPUS, 0.0),
        ("cuda", HEAD, 1.0),
        ("cuda", CPUS, 1.0),
        ("auto", GPUS, 1.0),
        ("auto", CPUS, 0.0),
    ],
)
def test_the_device_decides_and_auto_looks_at_the_cluster(
    tmp_path: Path, device: str, total: dict[str, float], gpus: float
) -> None:
    asked = of_trainer(settings(tmp_path, device=device), "base", total)
    assert asked is not None
    assert asked.options() == {"num_cpus": 1.0, "num_gpus": gpus}


def test_auto_asks_an_empty_cluster_for_nothing_and_says_why(tmp_path: Path) -> None:
    asked = of_trainer(settings(tmp_path), "base", HEAD)
    assert asked is None
    assert "TUNESMITH_DEVICE" in waiting_for(asked, HEAD, HEAD, "to hold the base b")


def test_a_base_may_be_kept_to_nodes_with_a_resource(tmp_path: Path) -> None:
    chosen = settings(
        tmp_path,
        device="cuda",
        trainer_resources={"big": {"a100": 0.5, "CPU": 4, "memory": 64e9}, "half": {"GPU": 0.5}},
    )
    big = of_trainer(chosen, "big", GPUS)
    assert big is not None
    assert big.options() == {
        "num_cpus": 4.0,
        "num_gpus": 1.0,
        "memory": 64_000_000_000,
        "resources": {"a100": 0.5},
    }
    assert big.missing(GPUS) == ["memory", "a100"]
    half = of_trainer(chosen, "half", HEAD)
    assert half is not None
    assert half.options() == {"num_cpus": 1.0, "num_gpus": 0.5}
    # Beside the trainer there is always room for who reads a job's files.
    assert of_reader(chosen, "big").options() == {
        "num_cpus": 0.0,
        "num_gpus": 0.0,
        "resources": {"a100": 0.001},
    }
    assert of_reader(chosen, "other").options() == {"num_cpus": 0.0, "num_gpus": 0.0}


def test_a_job_is_told_whether_there_is_none_or_all_are_busy() -> None:
    gpu = Needs(gpus=1.0)
    none = waiting_for(gpu, CPUS, CPUS, "to hold the base b")
    assert none.startswith("Waiting for a GPU worker to hold the base b: none is in the Ray clu")
    assert "autoscaler" in none
    busy = waiting_for(gpu, GPUS, GPUS | {"GPU": 0.0}, "to hold the base b")
    assert "all are in use" in busy
    tagged = waiting_for(Needs(gpus=1.0, tags={"a100": 0.5}), GPUS, GPUS, "to hold the base b")
    assert "a GPU worker with a100" in tagged
