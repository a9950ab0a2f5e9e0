"""A job that runs out of memory in the trainer fails with its own code; the cohort goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tunesmith.workers.trainer import passes
from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.passes import Work
from tunesmith.workers.training.cohort_worker import CohortWorker
from tunesmith.workers.training.work import Failed, Finished, TrainingWork

from .conftest import ended, gather, pairs


@pytest.mark.parametrize("long_rows", ["training", "validation"])
def test_the_tenant_reads_which_row_was_too_much(
    start: Callable[[], CohortWorker],
    work: Callable[..., TrainingWork],
    put_examples: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    long_rows: str,
) -> None:

    def score(base: Base, adapters: Any, works: Sequence[Work]) -> Any:
        if any(len(row) > 150 for work in works for row in work.rows):
            raise MemoryError
        return passes.score(base, adapters, works)

    monkeypatch.setattr("tunesmith.workers.trainer.cohort.score", score)
    short, long = pairs(3), [*pairs(5), ("my mail does not arrive", "ticket " * 120)]
    files = {"training": short, "validation": short} | {long_rows: long}
    worker = start()
    worker.join(work())
    job = work(
        "ftjob-b",
        training_key=put_examples(files["training"], "examples/t.jsonl"),
        validation_key=put_examples(files["validation"], "examples/v.jsonl"),
    )
    worker.join(job)
    updates = gather(worker, ended("ftjob-a", "ftjob-b"))
    (failure,) = [update for update in updates if isinstance(update, Failed)]
    assert (failure.job_id, failure.code) == ("ftjob-b", "out_of_memory")
    assert "example 6 alone" in failure.message
    assert ("line 6 of the training file" in failure.message) == (long_rows == "training")
    assert any(isinstance(update, Finished) for update in updates)
