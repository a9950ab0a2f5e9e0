"""Both databases, migrated and empty, and a small world of tenants, files and jobs in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases, files, models, tenants
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Base, Job
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import Prepared, StoredAdapter
from tunesmith.platform.examples import ExamplesKind
from tunesmith.platform.jobs import control, progress, queue
from tunesmith.platform.jobs.creation import JobRequest, create_job

BASE = "pocket"
BASE_DIGEST = "b" * 64


@dataclass
class World:
    """A database with one base in it; makes tenants, files, jobs and models as a test needs them.

    Every call is a transaction of its own.
    """

    database: Database
    training_files: dict[str, str] = field(default_factory=dict, repr=False)

    def empty(self) -> None:
        """Delete every row, and register the base again."""
        delete_all_rows(self.database)
        self.training_files.clear()
        self.register_base()

    def register_base(
        self,
        digest: str = BASE_DIGEST,
        max_rank: int = 64,
        config: dict[str, Any] | None = None,
    ) -> None:
        with self.database.transaction() as session:
            bases.register_base(
                session,
                name=BASE,
                source="/bases/pocket",
                digest=digest,
                context_length=512,
                max_rank=max_rank,
                config=config or {},
            )

    def tenant(self, name: str | None = None) -> str:
        """Id of a new tenant that has a training file."""
        with self.database.transaction() as session:
            tenant_id = tenants.create_tenant(session, name or f"tenant {random_text(8)}").id
        self.training_files[tenant_id] = self.file(tenant_id)
        return tenant_id

    def file(
        self,
        tenant_id: str,
        *,
        sha256: str | None = None,
        purpose: str = "fine-tune",
        examples: int = 100,
        kind: ExamplesKind | None = None,
        expires_after: float | None = None,
    ) -> str:
        """Id of a new file."""
        digest = sha256 or uuid4().hex * 2
        prepared = purpose == "fine-tune"
        with self.database.transaction() as session:
            return files.add_file(
                session,
                tenant_id,
                files.StoredFile(
                    storage_key=files.original_key(tenant_id, digest),
                    bytes=1000,
                    sha256=digest,
                    examples_key=files.examples_key(tenant_id, digest) if prepared else None,
                    examples=examples if prepared else None,
                    kind=kind,
                ),
                filename="tickets.jsonl",
                purpose=purpose,
                expires_after=expires_after,
            ).id

    def request(self, tenant_id: str) -> JobRequest:
        """A request that is granted."""
        return JobRequest(model=BASE, training_file=self.training_files[tenant_id], seed=7)

    def job(self, tenant_id: str) -> str:
        """Id of a new job."""
        with self.database.transaction() as session:
            return create_job(session, tenant_id, self.request(tenant_id)).id

    def lease(self, job_id: str, owner: str = "dispatcher") -> queue.Lease:
        """A lease on a waiting job, whoever's turn it is; without counting an attempt."""
        token = random_text()
        with self.database.transaction() as session:
            job = session.scalars(select(Job).where(Job.id == job_id)).one()
            job.lease_token, job.lease_owner, job.lease_expires_at = token, owner, 4e9
        return queue.Lease(job_id, token, 4e9)

    def prepared_job(self, tenant_id: str) -> str:
        """Id of a new job that is queued."""
        job_id = self.job(tenant_id)
        lease = self.lease(job_id)
        with self.database.transaction() as session:
            progress.prepared(session, lease, PREPARED)
        return job_id

    def running_job(self, tenant_id: str) -> queue.Lease:
        """Lease of a new job that runs."""
        lease = self.lease(self.prepared_job(tenant_id))
        with self.database.transaction() as session:
            queue.begin(session, lease, "Fine-tuning job started")
        return lease

    def job_in(self, tenant_id: str, status: JobStatus) -> str:
        """Id of a new job in `status`."""
        if status == JobStatus.VALIDATING_FILES:
            return self.job(tenant_id)
        if status == JobStatus.QUEUED:
            return self.prepared_job(tenant_id)
        lease = self.running_job(tenant_id)
        with self.database.transaction() as session:
            if status == JobStatus.PAUSED:
                control.pause(session, tenant_id, lease.job_id)
            elif status == JobStatus.FAILED:
                progress.fail(session, lease, "boom", "It failed.")
            elif status == JobStatus.CANCELLED:
                control.cancel(session, tenant_id, lease.job_id)
            elif status == JobStatus.SUCCEEDED:
                self.complete(session, lease)
        return lease.job_id

    def complete(self, session: Session, lease: queue.Lease, *, digest: str | None = None) -> str:
        """Complete a running job within `session`; the name of its model."""
        job = queue.leased_job(session, lease)
        name = f"ft:{BASE}:org::{random_text(8)}"
        progress.complete(
            session,
            lease,
            StoredAdapter(digest or uuid4().hex * 2, rank=16, bytes=10_000),
            model_name=name,
            trained_tokens=1234,
            result_file=job.training_file,
        )
        return name

    def model(self, tenant_id: str, digest: str | None = None) -> str:
        """Name of a new tuned model."""
        lease = self.running_job(tenant_id)
        with self.database.transaction() as session:
            return self.complete(session, lease, digest=digest)

    def adapter_of(self, tenant_id: str, name: str) -> str:
        """Digest of a model's adapter."""
        with self.database.reading() as session:
            return models.get_model(session, tenant_id, name).adapter_digest


PREPARED = Prepared(
    hyperparameters={"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0},
    recipe={"rank": 16},
    total_steps=30,
)


def delete_all_rows(database: Database) -> None:
    with database.transaction() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "tunesmith.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.dispose()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> Iterator[Database]:
    """A migrated PostgreSQL database that the tests use one after the other."""
    name = f"platform_{uuid4().hex}"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database = Database(postgres_url.replace("/postgres?", f"/{name}?"))
    migrate(database)
    yield database
    database.dispose()


@pytest.fixture
def sqlite(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database with the newest schema."""
    shutil.copyfile(migrated_sqlite, tmp_path / "tunesmith.db")
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    yield database
    database.dispose()


@pytest.fixture
def postgres(migrated_postgres: Database) -> Iterator[Database]:
    """An empty PostgreSQL database with the newest schema."""
    delete_all_rows(migrated_postgres)
    yield migrated_postgres
    migrated_postgres.dispose()  # a connection that a test left open holds no locks


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each of both databases, empty, with the newest schema."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def world(database: Database) -> World:
    """A world in each of both databases."""
    world = World(database)
    world.register_base()
    return world


@pytest.fixture
def sqlite_world(sqlite: Database) -> World:
    """A world in SQLite alone."""
    world = World(sqlite)
    world.register_base()
    return world


@pytest.fixture
def postgres_world(postgres: Database) -> World:
    """A world in PostgreSQL alone, for what only several writers at once can show."""
    world = World(postgres)
    world.register_base()
    return world
