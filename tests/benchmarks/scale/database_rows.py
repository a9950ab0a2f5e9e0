"""Tenants with keys, files and queued jobs for the database's benchmark, by the platform's code."""

from __future__ import annotations

from uuid import uuid4

import psycopg
from sqlalchemy import func, select, text
from tests.benchmarks.gateway.growth_database import plain

from tunesmith.platform import bases, files, tenants
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Base
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import Prepared
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.creation import JobRequest, create_job
from tunesmith.platform.tenants import keys

BASE = "pocket"
_PREPARED = Prepared(
    hyperparameters={"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0},
    recipe={"rank": 16},
    total_steps=375,
)


def fill(url: str, count: int, jobs: int) -> Database:
    """Migrate an empty database; `count` tenants with `jobs` queued ones, as many each."""
    _sync_commits(url, "off")
    database = Database(url)
    migrate(database)
    with database.transaction() as session:
        bases.register_base(
            session, name=BASE, source="/models/pocket", digest="b" * 64, context_length=512,
            max_rank=64, config={},
        )  # fmt: skip
    made = []
    for number in range(count):
        with database.transaction() as session:
            tenant = tenants.create_tenant(session, f"tenant {number}").id
            keys.create_key(session, tenant, "first")
            digest = uuid4().hex * 2
            file = files.add_file(
                session,
                tenant,
                files.StoredFile(
                    storage_key=files.original_key(tenant, digest), bytes=1000, sha256=digest,
                    examples_key=files.examples_key(tenant, digest), examples=500,
                ),
                filename="train.jsonl",
                purpose="fine-tune",
            ).id  # fmt: skip
        made.append((tenant, file))
    for number in range(jobs):
        tenant, file = made[number % count]
        with database.transaction() as session:
            create_job(session, tenant, JobRequest(model=BASE, training_file=file, seed=1))
        with database.transaction() as session:
            lease = queue.claim(session, "fill", 60.0, status=JobStatus.VALIDATING_FILES)
            if lease is None:
                raise RuntimeError("the job that was made is not there to be claimed")
            progress.prepared(session, lease, _PREPARED)
    with database.transaction() as session:
        session.execute(text("ANALYZE"))
    database.dispose()
    _sync_commits(url, "on")
    return Database(url)


def _sync_commits(url: str, how: str) -> None:
    """Whether new connections wait for the disk: filling need not."""
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(f"ALTER ROLE tunesmith SET synchronous_commit = {how}".encode())


def bytes_of(database: Database, *tables: str) -> int:
    """Of tables with their indexes and long values; of all where none is named."""
    names = tables or tuple(Base.metadata.tables)
    with database.reading() as session:
        return sum(
            session.scalars(select(func.pg_total_relation_size(name))).one() for name in names
        )


def rows_of(database: Database, table: type[Base]) -> int:
    """How many there are."""
    with database.reading() as session:
        return session.scalars(select(func.count()).select_from(table)).one()
