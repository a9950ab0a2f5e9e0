"""However a job leaves the dispatcher, its runs end with the status that it has then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.training import StepMetrics, StoredAdapter
from tunesmith.platform.jobs import control, reading
from tunesmith.workers.tracking.tracker import TrackedJob
from tunesmith.workers.tracking.tracking import Tracking
from tunesmith.workers.training.work import Failed, Finished, StateStored, Stepped

BASE = "pocket"

if TYPE_CHECKING:
    from tests.workers.dispatcher.conftest import Desk

    from tunesmith.workers.dispatcher.trainings import Trainings


class Remembering:
    name = "remembering"
    note = "The job's W&B run: https://wandb.ai/x"

    def __init__(self) -> None:
        self.jobs: list[TrackedJob] = []
        self.told: list[Any] = []
        self.logged = threading.Event()

    def runs(self, job: TrackedJob) -> list[None]:
        return [None]

    def begin(self, job: TrackedJob, which: None) -> Remembering:
        self.jobs.append(job)
        return self

    def log(self, steps: Any) -> None:
        self.told += [step.step for step in steps]
        self.logged.set()

    def close(self, status: str) -> None:
        self.told.append(status)


def _fails(desk: Desk, trainings: Trainings, job: str) -> None:
    desk.cohort.next_updates = [Failed(job, "loss_not_finite", "no")]
    trainings.take_updates()


def _is_cancelled(desk: Desk, trainings: Trainings, job: str) -> None:
    with desk.database.transaction() as session:
        control.cancel(session, desk.tenant, job)
    trainings.forget(job)


def _is_paused(desk: Desk, trainings: Trainings, job: str) -> None:
    with desk.database.transaction() as session:
        control.pause(session, desk.tenant, job)
    trainings.pause(job)
    desk.cohort.next_updates = [StateStored(job, "states/1", 1, left=True)]
    trainings.take_updates()


def _loses_its_cohort(desk: Desk, trainings: Trainings, job: str) -> None:
    desk.cohort.lost = True
    trainings.take_updates()


def _is_published(desk: Desk, trainings: Trainings, job: str) -> None:
    desk.cohort.next_updates = [Finished(job, StoredAdapter("a" * 64, 8, 10), 28)]
    trainings.take_updates()
    desk.wait_beside()
    with desk.database.transaction() as session:  # as the publisher does
        session.execute(update(Job).where(Job.id == job).values(status="succeeded"))
    trainings.finish()


def _sees_the_dispatcher_stop(desk: Desk, trainings: Trainings, job: str) -> None:
    trainings.stop()


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        (_fails, "failed"),
        (_is_cancelled, "cancelled"),
        (_is_paused, "paused"),
        (_loses_its_cohort, "queued"),
        (_is_published, "succeeded"),
        (_sees_the_dispatcher_stop, "queued"),
    ],
)
def test_a_job_that(desk: Desk, leave: Callable[[Desk, Trainings, str], None], status: str) -> None:
    tracker = Remembering()
    tracking = Tracking([tracker])
    job = desk.queued_job()
    trainings = desk.trainings(tracking)
    trainings.start(queued={BASE})
    desk.cohort.next_updates = [
        Stepped(job, StepMetrics(step, 4, 1.0, 0.5), 1.0) for step in (1, 2)
    ]
    trainings.take_updates()
    leave(desk, trainings, job)
    tracking.close(within=60)
    assert tracker.told == [1, 2, status]
    (tracked,) = tracker.jobs
    assert (tracked.id, tracked.resume_step, tracked.integrations) == (job, 0, [])
    assert tracked.config["n_epochs"] == 2
    assert tracked.config["base"] == "pocket"


def test_the_address_of_a_run_is_in_the_jobs_events(desk: Desk) -> None:
    tracker = Remembering()
    tracking = Tracking([tracker])
    job = desk.queued_job()
    with desk.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job).values(integrations=["?", {"type": "x"}]))
    trainings = desk.trainings(tracking)
    trainings.start(queued={BASE})
    desk.cohort.next_updates = [Stepped(job, StepMetrics(1, 4, 1.0, 0.5), 1.0)]
    trainings.take_updates()
    assert tracker.logged.wait(60)  # which it is after the note
    trainings.stop()
    tracking.close(within=60)
    with desk.database.reading() as session:
        events = reading.list_events(session, desk.tenant, job).items
    assert Remembering.note in [event.message for event in events]
