"""The migrations make exactly the schema of the models, however many run them at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database import migrate as migrate_function
from tunesmith.platform.database.models import Base, File, Job
from tunesmith.platform.domain.errors import Unavailable
from tunesmith.platform.domain.job import TRANSITIONS

PROCESSES = 3
MIGRATE = """
import sys
from tunesmith.platform.database import Database, migrate
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
migrate(database)
migrate(database)
database.dispose()
"""
FIRST_ROWS = [
    "INSERT INTO tenants (id, name, slug, created_at, last_claimed_at)"
    " VALUES ('t', 't', 't', 1, 0)",
    "INSERT INTO bases (name, source, digest, context_length, max_rank, config, created_at)"
    " VALUES ('b', '/b', 'd', 512, 64, '{}', 1)",
    "INSERT INTO files (id, tenant_id, filename, purpose, bytes, sha256, status, storage_key,"
    " created_at) VALUES ('f', 't', 'a.jsonl', 'fine-tune', 1, 's', 'processed', 'k', 1)",
    "INSERT INTO jobs (id, tenant_id, created_at, status, model, base_name, base_digest,"
    " training_file, seed, method, fingerprint, hyperparameters, step, attempts, resume_step)"
    " VALUES ('j', 't', 1, 'validating_files', 'b', 'b', 'd', 'f', 1, '{}', 'p', '{}', 0, 0, 0)",
]
"""A job and what it needs, as the first schema had them."""

UNMAPPED = {"alembic_version", "job_transitions", "schema_compatibility"}
"""The database's own business: Alembic's, the guard's, and which code may use it."""


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of each of both databases, without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new folder' / 'tunesmith.db'}"
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture
def empty_database(empty_url: str) -> Any:
    database = Database(empty_url)
    yield database
    database.dispose()


def head() -> str | None:
    folder = Path(sys.modules[migrate_function.__module__].__file__ or "").parent / "migrations"
    return ScriptDirectory(str(folder)).get_current_head()


def version(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def test_processes_that_start_together_migrate_once(empty_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # all have imported everything: now they race
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, errors
    database = Database(empty_url)
    assert version(database) == [head()]
    with database.engine.connect() as connection:
        pairs = connection.execute(text("SELECT from_status, to_status FROM job_transitions")).all()
    database.dispose()
    assert len(pairs) == sum(len(following) for following in TRANSITIONS.values())


def test_the_guard_knows_the_domains_transitions(database: Database) -> None:
    with database.engine.connect() as connection:
        pairs = connection.execute(text("SELECT from_status, to_status FROM job_transitions")).all()
    assert {(a, b) for a, b in pairs} == {(a, b) for a in TRANSITIONS for b in TRANSITIONS[a]}


def test_alembic_finds_nothing_to_add(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_name": lambda name, kind, _: kind != "table" or name not in UNMAPPED,
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def flat(index: dict[str, Any]) -> dict[str, str]:
    options = index.pop("dialect_options", {})
    return {name: str(value) for name, value in {**index, **options}.items()}


def described(engine: Engine) -> dict[str, dict[str, Any]]:
    """Everything that the inspector tells of the tables, partial indexes' conditions included."""
    inspector = inspect(engine)
    by_name: Callable[[dict[str, Any]], str] = lambda part: str(part["name"])  # noqa: E731
    return {
        table: {
            # By name: a later migration adds its columns at the end, whatever they belong to.
            "columns": [
                {k: str(v) for k, v in column.items()}
                for column in sorted(map(dict, inspector.get_columns(table)), key=by_name)
            ],
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(u["column_names"] for u in inspector.get_unique_constraints(table)),
            "foreign": sorted(
                (f["constrained_columns"], f["referred_table"], f["referred_columns"])
                for f in inspector.get_foreign_keys(table)
            ),
            "indexes": [
                flat(index)
                for index in sorted(map(dict, inspector.get_indexes(table)), key=by_name)
            ],
        }
        for table in inspector.get_table_names()
        if table not in UNMAPPED
    }


def test_the_migrated_schema_is_the_models_own(
    database: Database, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'created.db'}"
    if not database.is_sqlite:
        url = request.getfixturevalue("postgres_database")
    created = Database(url)
    Base.metadata.create_all(created.engine)
    migrated_schema, created_schema = described(database.engine), described(created.engine)
    created.dispose()
    assert migrated_schema == created_schema
    assert len(migrated_schema) == len(Base.metadata.tables)


def test_rows_of_the_first_schema_stay_and_are_guarded(empty_database: Database) -> None:
    migrate(empty_database, "0001")
    with empty_database.engine.begin() as connection:
        for statement in FIRST_ROWS:
            connection.execute(text(statement))
    migrate(empty_database)
    with empty_database.reading() as session:
        file, job = session.scalars(select(File)).one(), session.scalars(select(Job)).one()
        assert (file.filename, file.kind) == ("a.jsonl", None)
        assert (job.training_file, job.integrations) == (file.id, None)
    with (
        empty_database.engine.begin() as connection,
        pytest.raises(IntegrityError, match="illegal move of a job"),
    ):
        connection.execute(text("UPDATE jobs SET status = 'succeeded'"))


def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://tunesmith@/tunesmith?host={tmp_path}")
    with pytest.raises(Unavailable, match="not available"):
        migrate(database)
    database.dispose()
