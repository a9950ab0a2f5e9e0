"""Examples in storage, and a cohort worker on the small base."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.examples import write_normalised
from tunesmith.platform.storage import Storage
from tunesmith.workers.bases import base_digest
from tunesmith.workers.training.cohort_worker import CohortWorker
from tunesmith.workers.training.work import (
    CohortSettings,
    Failed,
    Finished,
    StateStored,
    TrainingWork,
    Update,
)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


@pytest.fixture
def put_examples(storage: Storage) -> Callable[..., str]:
    """Stores pairs, normalised as an upload is; answers with the key."""

    def put(pairs: list[tuple[str, str]], key: str = "examples/a.jsonl") -> str:
        lines = [json.dumps({"prompt": p, "completion": c}) for p, c in pairs]
        out = io.BytesIO()
        write_normalised(io.BytesIO("\n".join(lines).encode()), "a.jsonl", out)
        storage.put(key, out.getvalue())
        return key

    return put


def pairs(count: int = 12, word: str = "mail") -> list[tuple[str, str]]:
    return [(f"my {word} {i} does not arrive", f"ticket {i}") for i in range(count)]


@pytest.fixture
def cohort_settings(base_directory: Path, storage: Storage, tmp_path: Path) -> CohortSettings:
    return CohortSettings(
        base_directory=str(base_directory),
        base_digest=base_digest(base_directory),
        context_length=256,
        device="cpu",
        threads=1,
        storage_url=str(tmp_path / "storage"),
        checkpoint_every_steps=4,
    )


@pytest.fixture
def start(cohort_settings: CohortSettings) -> Iterator[Callable[[], CohortWorker]]:
    """Starts workers that are stopped at the end."""
    workers: list[CohortWorker] = []

    def start_one() -> CohortWorker:
        workers.append(CohortWorker(cohort_settings))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.stop()


@pytest.fixture
def work(put_examples: Callable[..., str]) -> Callable[..., TrainingWork]:
    def make(job_id: str = "ftjob-a", **fields: Any) -> TrainingWork:
        values: dict[str, Any] = {
            "job_id": job_id,
            "training_key": "examples/a.jsonl",
            "validation_key": None,
            "recipe": {
                "rank": 4,
                "alpha": 8.0,
                "learning_rate": 5e-3,
                "n_epochs": 3,
                "batch_size": 2,
                "warmup_steps": 1,
            },
            "seed": 5,
            "parent_digest": None,
            "resume_key": None,
            "state_prefix": f"jobs/{job_id}/states/t",
        }
        if "training_key" not in fields:
            put_examples(pairs())
        return TrainingWork(**(values | fields))

    return make


def gather(
    worker: CohortWorker, until: Callable[[list[Update]], bool], seconds: float = 60.0
) -> list[Update]:
    """The worker's updates until a condition holds."""
    updates: list[Update] = []
    deadline = time.monotonic() + seconds
    while not until(updates):
        assert time.monotonic() < deadline, f"never happened; updates: {updates}"
        updates += worker.updates(1.0)
    return updates


def ended(*job_ids: str) -> Callable[[list[Update]], bool]:
    def all_ended(updates: list[Update]) -> bool:
        gone = {
            update.job_id
            for update in updates
            if isinstance(update, Finished | Failed)
            or (isinstance(update, StateStored) and update.left)
        }
        return gone >= set(job_ids)

    return all_ended
