"""A cohort at work: joins, leaves, states, and failures that stay with their job."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.platform.storage import Storage, StorageFull
from tunesmith.platform.storage.adapters import fetch_adapter
from tunesmith.workers.training.base_files import BaseChanged
from tunesmith.workers.training.cohort_worker import CohortWorker
from tunesmith.workers.training.held_out import key_of, store
from tunesmith.workers.training.work import (
    CohortSettings,
    EpochStored,
    Failed,
    Finished,
    Joined,
    NoRoom,
    Noted,
    StateStored,
    Stepped,
    TrainingWork,
    Update,
)

from .conftest import ended, gather, pairs

Start = Callable[[], CohortWorker]
Work = Callable[..., TrainingWork]


def finished(updates: list[Update], job_id: str = "ftjob-a") -> Finished:
    (result,) = [u for u in updates if isinstance(u, Finished) and u.job_id == job_id]
    return result


def test_a_job_trains_to_a_stored_adapter(
    start: Start, work: Work, storage: Storage, tmp_path: Path
) -> None:
    worker = start()
    worker.join(work())
    updates = gather(worker, ended("ftjob-a"))
    assert updates[0] == Joined("ftjob-a", 0, 18)
    steps = [u.metrics.step for u in updates if isinstance(u, Stepped)]
    assert steps == list(range(1, 19))
    epochs = [u for u in updates if isinstance(u, EpochStored)]
    assert [epoch.metrics.step for epoch in epochs] == [6, 12, 18]
    states = [u.step for u in updates if isinstance(u, StateStored)]
    assert states == [4, 6, 10, 12, 16, 18]
    result = finished(updates)
    assert result.adapter == epochs[-1].adapter
    folder = fetch_adapter(storage, result.adapter.digest, tmp_path / "cache")
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4
    first = result.probes[0]
    assert first.messages == [{"role": "user", "content": "my mail 0 does not arrive"}]
    assert first.prompt_ids


def test_an_interrupted_job_ends_with_the_same_adapter(start: Start, work: Work) -> None:
    undisturbed = start()
    undisturbed.join(work())
    expected = finished(gather(undisturbed, ended("ftjob-a"))).adapter

    first = start()
    first.join(work())
    gather(first, lambda updates: any(isinstance(u, Stepped) for u in updates))
    first.leave("ftjob-a")
    left = [u for u in gather(first, ended("ftjob-a")) if isinstance(u, StateStored)][-1]
    assert left.left
    assert left.step < 18

    second = start()
    second.join(work(resume_key=left.key))
    updates = gather(second, ended("ftjob-a"))
    assert updates[0] == Joined("ftjob-a", left.step, 18)
    assert finished(updates).adapter == expected


def test_a_state_at_the_last_step_finishes_without_training(start: Start, work: Work) -> None:
    worker = start()
    worker.join(work())
    updates = gather(worker, ended("ftjob-a"))
    last = [u for u in updates if isinstance(u, StateStored)][-1]
    worker.join(work(resume_key=last.key))
    again = gather(worker, ended("ftjob-a"))
    assert not [u for u in again if isinstance(u, Stepped)]
    assert finished(again).adapter == finished(updates).adapter
    assert finished(again).trained_tokens == finished(updates).trained_tokens


def test_neighbours_do_not_change_a_result(
    start: Start, work: Work, put_examples: Callable[..., str]
) -> None:
    alone = start()
    alone.join(work())
    expected = finished(gather(alone, ended("ftjob-a"))).adapter
    together = start()
    together.join(work())
    together.join(work("ftjob-b", training_key=put_examples(pairs(20, "parcel"), "b"), seed=9))
    updates = gather(together, ended("ftjob-a", "ftjob-b"))
    assert finished(updates).adapter == expected
    assert finished(updates, "ftjob-b").adapter != expected


def test_a_dropped_job_is_not_heard_of_again(
    start: Start, work: Work, put_examples: Callable[..., str]
) -> None:
    worker = start()
    recipe = work().recipe | {"n_epochs": 50}
    worker.join(work("ftjob-b", recipe=recipe))
    gather(worker, lambda updates: any(isinstance(u, Stepped) for u in updates))
    worker.drop("ftjob-b")
    worker.join(work())
    updates = gather(worker, ended("ftjob-a"))
    assert not [u for u in updates if isinstance(u, Finished) and u.job_id == "ftjob-b"]
    worker.join(work("ftjob-b"))  # and may come back
    finished(gather(worker, ended("ftjob-b")), "ftjob-b")


def test_a_full_disk_fails_the_job_and_not_its_neighbour(
    start: Start, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Storage.put

    def full(self: Storage, key: str, data: bytes) -> None:
        if "ftjob-b" in key:
            raise StorageFull("No space is left in the storage.")
        put(self, key, data)

    monkeypatch.setattr(Storage, "put", full)
    worker = start()
    worker.join(work())
    worker.join(work("ftjob-b"))
    updates = gather(worker, ended("ftjob-a", "ftjob-b"))
    (failure,) = [u for u in updates if isinstance(u, Failed)]
    assert (failure.job_id, failure.code) == ("ftjob-b", "storage_full")
    assert "No space" in failure.message
    finished(updates)


def test_a_file_deleted_meanwhile_fails_the_job(start: Start, work: Work, storage: Storage) -> None:
    worker = start()
    job = work()
    storage.delete(job.training_key)
    worker.join(job)
    (failure,) = [u for u in gather(worker, ended("ftjob-a")) if isinstance(u, Failed)]
    assert failure.code == "file_deleted"


def test_a_foreign_state_is_refused(
    start: Start, work: Work, put_examples: Callable[..., str]
) -> None:
    worker = start()
    worker.join(work())
    key = [u for u in gather(worker, ended("ftjob-a")) if isinstance(u, StateStored)][-1].key
    other = put_examples(pairs(14, "parcel"), "b")
    worker.join(work("ftjob-b", training_key=other, resume_key=key))
    (failure,) = [u for u in gather(worker, ended("ftjob-b")) if isinstance(u, Failed)]
    assert failure.code == "training_failed"


def test_a_job_continues_from_an_earlier_adapter(start: Start, work: Work) -> None:
    worker = start()
    worker.join(work())
    parent = finished(gather(worker, ended("ftjob-a")))
    worker.join(work("ftjob-b", parent_digest=parent.adapter.digest))
    updates = gather(worker, ended("ftjob-b"))
    first = next(u for u in updates if isinstance(u, Stepped))
    fresh = work().recipe
    assert fresh["n_epochs"] == 3
    assert finished(updates, "ftjob-b").adapter.digest != parent.adapter.digest
    worker.join(work("ftjob-c"))
    scratch = next(u for u in gather(worker, ended("ftjob-c")) if isinstance(u, Stepped))
    assert first.metrics.train_loss < scratch.metrics.train_loss


def test_stopping_stores_what_trains(start: Start, work: Work) -> None:
    worker = start()
    worker.join(work(recipe=work().recipe | {"n_epochs": 50}))
    gather(worker, lambda updates: any(isinstance(u, Stepped) for u in updates))
    worker.stop()
    left = [u for u in worker.updates(0) if isinstance(u, StateStored)][-1]
    assert left.left


def test_a_base_that_changed_is_refused(
    cohort_settings: CohortSettings, base_directory: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(base_directory, tmp_path / "changed"))
    (changed / "generation_config.json").write_text("{}")
    with pytest.raises(BaseChanged, match="has changed"):
        CohortWorker(dataclasses.replace(cohort_settings, base_directory=str(changed)))


def test_a_base_that_changes_under_a_running_cohort_is_refused(
    cohort_settings: CohortSettings, base_directory: Path, tmp_path: Path, work: Work
) -> None:
    directory = Path(shutil.copytree(base_directory, tmp_path / "base"))
    worker = CohortWorker(dataclasses.replace(cohort_settings, base_directory=str(directory)))
    worker.join(work())
    finished(gather(worker, ended("ftjob-a")))
    (directory / "generation_config.json").write_text("{}")
    worker.join(work("ftjob-b"))
    (failure,) = [u for u in gather(worker, ended("ftjob-b")) if isinstance(u, Failed)]
    assert failure.code == "base_changed"
    assert "its digest is" in failure.message
    worker.stop()


def test_a_job_without_room_now_is_given_back_and_fits_later(
    cohort_settings: CohortSettings, work: Work, put_examples: Callable[..., str]
) -> None:
    measured = CohortWorker(cohort_settings)
    figures = measured.figures()
    measured.stop()
    # Passes take at most half of it, and a slot of rank 64 more than a quarter.
    state = 64 * 16 * 1024
    capacity = 2 * (figures["logits_bytes"] + 64 * figures["token_bytes"]) + state
    worker = CohortWorker(dataclasses.replace(cohort_settings, memory_bytes=capacity))
    recipe = work().recipe | {"rank": 64, "n_epochs": 40}
    jobs = [f"ftjob-{letter}" for letter in "abcdefgh"]
    for job in jobs:
        worker.join(work(job, recipe=recipe))
    settled: Callable[[list[Update]], bool] = lambda updates: (  # noqa: E731
        sum(isinstance(u, Joined | NoRoom | Failed) for u in updates) == len(jobs)
    )
    updates = gather(worker, settled)
    joined = [u.job_id for u in updates if isinstance(u, Joined)]
    refused = [u for u in updates if isinstance(u, NoRoom)]
    assert joined
    assert refused
    assert f"beside the {len(joined)} jobs in training" in refused[0].message
    worker.drop(joined[0])
    worker.join(work(refused[0].job_id, recipe=recipe))
    again = gather(worker, lambda us: any(isinstance(u, Joined) for u in us))
    assert refused[0].job_id in {u.job_id for u in again if isinstance(u, Joined)}
    worker.stop()


def test_a_job_that_never_fits_fails_with_the_numbers(
    cohort_settings: CohortSettings, work: Work
) -> None:
    worker = CohortWorker(dataclasses.replace(cohort_settings, memory_bytes=1_000_000))
    worker.join(work(recipe=work().recipe | {"rank": 64}))
    (failure,) = [u for u in gather(worker, ended("ftjob-a")) if isinstance(u, Failed)]
    assert failure.code == "does_not_fit"
    assert "LoRA rank 64" in failure.message
    worker.stop()


def test_the_tenant_reads_why_training_ended_and_which_step_is_the_result(
    start: Start, work: Work, put_examples: Callable[..., str]
) -> None:
    worker = start()
    recipe = work().recipe | {
        "n_epochs": 40, "learning_rate": 2e-2, "patience": 2, "keep_best": True,
    }  # fmt: skip
    job = work(recipe=recipe, validation_key=put_examples(pairs(5, "parcel"), "b"))
    worker.join(job)
    updates = gather(worker, ended("ftjob-a"))
    told = [u.message for u in updates if isinstance(u, Noted)]
    assert len(told) == 2
    assert "2 validations in a row were no better" in told[0]
    assert "The result is the adapter of step" in told[1]
    epochs = {u.metrics.step: u.adapter for u in updates if isinstance(u, EpochStored)}
    best = min(
        (u.metrics for u in updates if isinstance(u, EpochStored)),
        key=lambda metrics: metrics.full_valid_loss or 0.0,
    )
    assert finished(updates).adapter == epochs[best.step]


def test_a_split_is_held_out_and_never_trained_on(
    start: Start, work: Work, storage: Storage
) -> None:
    worker = start()
    job = work()
    key = key_of(job.job_id)
    store(storage, job.training_key, [2, 5, 11], key)
    worker.join(dataclasses.replace(job, held_out_key=key))
    updates = gather(worker, ended("ftjob-a"))
    steps = [u.metrics for u in updates if isinstance(u, Stepped)]
    assert len(steps) == 3 * -(-9 // 2)  # of 12 examples three are held out
    assert sum(step.full_valid_loss is not None for step in steps) == 3
    assert all(step.padding_share == 0 for step in steps)


def test_a_job_whose_held_out_examples_are_gone_fails_and_says_so(start: Start, work: Work) -> None:
    worker = start()
    worker.join(work(held_out_key="jobs/ftjob-a/held-out.jsonl"))
    (failed,) = gather(worker, ended("ftjob-a"))
    assert isinstance(failed, Failed)
    assert failed.code == "file_deleted"
