"""Cohorts of a base: as many as its jobs fill, within the setting, and no more than they need."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tunesmith.platform.settings import Settings
from tunesmith.workers.dispatcher import cohort_pool
from tunesmith.workers.dispatcher.cohort_pool import CohortPool
from tunesmith.workers.dispatcher.cohorts import RunningCohort
from tunesmith.workers.dispatcher.metrics import TrainingMetrics, of_cohorts

SLOTS = 2


class Awaited(RunningCohort):
    """A cohort without a process; it is there when the test says so."""

    there = killed = False

    def check_ready(self) -> bool:
        if self.there and not self.ready:
            self.ready, self.idle_since = True, time.monotonic()
        return self.ready

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CohortPool:
    def start(base_name: str, settings: Any, needs: Any) -> Awaited:
        return Awaited(base_name, settings, None, None, needs)

    monkeypatch.setattr(RunningCohort, "start", start)
    monkeypatch.setattr(CohortPool, "_record", lambda *_: None)
    settings = Settings(home=tmp_path, cohorts_per_base=2, slots_per_cohort=SLOTS, device="cuda")
    ray: Any = SimpleNamespace(total=lambda: {"GPU": 8.0, "CPU": 8.0}, free=dict)
    reports: Any = None
    return CohortPool(settings, reports, ray, "test")


def base(name: str, digest: str = "d") -> Any:
    return SimpleNamespace(name=name, source="/b", digest=digest, context_length=512)


def come(pool: CohortPool) -> None:
    for cohort in pool:
        assert isinstance(cohort, Awaited)
        cohort.there = True
    list(pool.ready())


def fill(cohort: RunningCohort, jobs: int = SLOTS) -> None:
    cohort.jobs = {f"{id(cohort)}-{number}" for number in range(jobs)}


def of(pool: CohortPool, name: str) -> list[RunningCohort]:
    return [cohort for cohort in pool if cohort.base_name == name]


def test_another_cohort_comes_when_all_slots_are_taken_and_no_third(pool: CohortPool) -> None:
    pool.start_for([base("a")])
    pool.start_for([base("a")])
    assert len(of(pool, "a")) == 1  # the first is not there yet
    come(pool)
    fill(of(pool, "a")[0], SLOTS - 1)
    pool.start_for([base("a")])
    assert len(of(pool, "a")) == 1  # it has room
    fill(of(pool, "a")[0])
    for _ in range(3):
        pool.start_for([base("a")])
        come(pool)
        for cohort in of(pool, "a"):
            fill(cohort)
    assert len(of(pool, "a")) == 2


def test_one_without_memory_left_counts_as_taken(pool: CohortPool) -> None:
    pool.start_for([base("a")])
    come(pool)
    of(pool, "a")[0].full = True
    pool.start_for([base("a")])
    assert len(of(pool, "a")) == 2


def test_another_bases_first_cohort_goes_before_a_second(pool: CohortPool) -> None:
    pool.start_for([base("a")])
    come(pool)
    fill(of(pool, "a")[0])
    pool.start_for([base("b")])  # it is waited for
    pool.start_for([base("a"), base("b")])
    assert (len(of(pool, "a")), len(of(pool, "b"))) == (1, 1)
    come(pool)
    pool.start_for([base("a"), base("b")])
    assert (len(of(pool, "a")), len(of(pool, "b"))) == (2, 1)


def test_a_second_that_is_awaited_is_called_off_when_the_first_has_room(
    pool: CohortPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.start_for([base("a")])
    come(pool)
    first = of(pool, "a")[0]
    fill(first)
    pool.start_for([base("a")])
    second = of(pool, "a")[1]
    pool.release_idle()
    fill(first, SLOTS - 1)
    pool.release_idle()
    assert len(of(pool, "a")) == 2  # a slot that is free for a moment says nothing
    fill(first)
    pool.release_idle()
    fill(first, SLOTS - 1)
    pool.release_idle()
    monkeypatch.setattr(cohort_pool, "_PATIENCE_SECONDS", -1.0)
    pool.release_idle()
    assert of(pool, "a") == [first]
    assert isinstance(second, Awaited)
    assert second.killed


def test_metrics_name_a_base_once(pool: CohortPool) -> None:
    pool.start_for([base("a")])
    come(pool)
    fill(of(pool, "a")[0])
    pool.start_for([base("a")])
    metrics = TrainingMetrics()
    metrics.collect_from(lambda: of_cohorts(pool, SLOTS))
    registry: CollectorRegistry = metrics.registry
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if line.startswith("tunesmith_cohort")] == [
        'tunesmith_cohorts{base="a"} 1.0',
        'tunesmith_cohorts_pending{base="a"} 1.0',
        'tunesmith_cohort_slots_used{base="a"} 2.0',
        'tunesmith_cohort_slots{base="a"} 2.0',
    ]
