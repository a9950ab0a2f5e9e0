"""A database with jobs in it, and a cohort that reports what a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from tunesmith.platform import bases, files, tenants
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import Prepared
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.creation import JobRequest, create_job
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.workers.dispatcher.cohorts import CohortLost
from tunesmith.workers.dispatcher.metrics import TrainingMetrics
from tunesmith.workers.dispatcher.reports import Reports
from tunesmith.workers.dispatcher.trainings import Trainings
from tunesmith.workers.tracking.tracking import Tracking
from tunesmith.workers.training.work import TrainingWork, Update

BASE = "pocket"


@dataclass
class ToldCohort:
    """A cohort without a process."""

    base_name: str = BASE
    ready: bool = True
    jobs: set[str] = field(default_factory=set)
    settings: Any = field(default_factory=lambda: SimpleNamespace(base_digest="d"))
    next_updates: list[Update] = field(default_factory=list)
    lost: bool = False
    full: bool = False

    def join(self, work: TrainingWork) -> None:
        self.jobs.add(work.job_id)

    def gone(self, job_id: str) -> None:
        self.jobs.discard(job_id)
        self.full = False

    drop = leave = gone

    def updates(self) -> list[Update]:
        if self.lost:
            raise CohortLost("killed")
        updates, self.next_updates = self.next_updates, []
        return updates

    def begin_stop(self) -> None: ...

    end_stop = updates


@dataclass
class Pool:
    """The one cohort, while it is up."""

    cohorts: list[ToldCohort]

    def __iter__(self) -> Iterator[ToldCohort]:
        return iter(list(self.cohorts))

    ready = __iter__

    def end(self, cohort: ToldCohort) -> None:
        self.cohorts.remove(cohort)


class Desk:
    """`Trainings` over a database of its own, with queued jobs on demand."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder)
        self.database = Database(self.settings.database_url)
        migrate(self.database)
        self.storage = Storage(self.settings.storage_url)
        self.cohort = ToldCohort()
        self.metrics = TrainingMetrics()
        self.published: list[str] = []
        self.reports = Reports(self.database, self.storage)
        with self.database.transaction() as session:
            bases.register_base(
                session,
                name=BASE,
                source="/b",
                digest="d",
                context_length=512,
                max_rank=64,
                config={},
            )
            self.tenant = tenants.create_tenant(session, "Acme").id
            self.file = files.add_file(
                session,
                self.tenant,
                files.StoredFile("k", 9, "s", examples_key="examples", examples=100),
                filename="f",
                purpose="fine-tune",
            ).id

    def trainings(self, tracking: Tracking | None = None) -> Trainings:
        publisher: Any = SimpleNamespace(
            publish=lambda lease, _: self.published.append(lease.job_id)
        )
        pool: Any = Pool([self.cohort])
        return Trainings(
            self.settings,
            self.reports,
            pool,
            publisher,
            "me",
            metrics=self.metrics,
            tracking=tracking or Tracking(),
        )

    def queued_job(self) -> str:
        with self.database.transaction() as session:
            request = JobRequest(model=BASE, training_file=self.file, seed=7)
            job = create_job(session, self.tenant, request)
            job.lease_token = random_text()
            progress.prepared(
                session,
                queue.Lease(job.id, job.lease_token, 4e9),
                Prepared({"n_epochs": 2}, {"rank": 8}, 4),
            )
            return job.id

    def job(self, job_id: str) -> Job:
        with self.database.reading() as session:
            return session.scalars(select(Job).where(Job.id == job_id)).one()

    def status(self, job_id: str) -> JobStatus:
        return JobStatus(self.job(job_id).status)

    def wait_beside(self) -> None:
        """Return when what was begun beside the loop is done."""
        done: list[Future[None]] = [self.reports.beside(lambda: None) for _ in range(8)]
        for future in done:
            future.result()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.reports.close()
    made.database.dispose()
