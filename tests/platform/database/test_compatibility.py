"""A schema works with the code of the release before, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.script import Script, ScriptDirectory
from sqlalchemy import inspect, select, text
from tests.platform.database.test_migrations import FIRST_ROWS, described, version

from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database import schema as schemas
from tunesmith.platform.database.models import Job
from tunesmith.platform.database.schema import Fit, Schema, known_revisions, read_schema
from tunesmith.platform.domain.errors import TunesmithError, Unavailable

FIRST_THAT_SAYS = "0007"

RETIRED: frozenset[tuple[str, str]] = frozenset()
"""Columns (table and name) that no code of the release before a migration used any more, so that
the migration could remove them. See docs/development.md, Migrations."""


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each of both databases, without any table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'tunesmith.db'}"
    else:
        url = request.getfixturevalue("postgres_database")
    database = Database(url)
    yield database
    database.dispose()


def scripts_that_say() -> list[Script]:
    directory = ScriptDirectory.from_config(schemas.alembic_config())
    scripts = list(directory.walk_revisions())
    return [script for script in scripts if script.revision >= FIRST_THAT_SAYS]


def schema_of(database: Database) -> Schema:
    with database.engine.connect() as connection:
        return read_schema(connection)


def become(database: Database, revision: str, oldest: str) -> None:
    """Make it look as if a later release had migrated it."""
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
        connection.execute(
            text("UPDATE schema_compatibility SET revision = :new, oldest_revision = :oldest"),
            {"new": revision, "oldest": oldest},
        )


@pytest.mark.parametrize("script", scripts_that_say(), ids=lambda script: str(script.revision))
def test_every_migration_lets_the_release_before_work_on(script: Script) -> None:
    oldest = getattr(script.module, "oldest_revision", None)
    assert oldest in known_revisions(), "say which code may use it: oldest_revision"
    assert oldest <= str(script.down_revision), "code of the revision before must be able to use it"


def test_migrations_only_add_what_older_code_need_not_know(empty_database: Database) -> None:
    revisions = known_revisions()
    first = revisions.index(FIRST_THAT_SAYS)
    migrate(empty_database, revisions[first - 1])
    before = described(empty_database.engine)
    for revision in revisions[first:]:
        migrate(empty_database, revision)
        after = described(empty_database.engine)
        for table, old in before.items():
            new = after[table]
            old_columns = {
                column["name"]: column
                for column in old["columns"]
                if (table, column["name"]) not in RETIRED
            }
            new_columns = {column["name"]: column for column in new["columns"]}
            kept = {name: column for name, column in new_columns.items() if name in old_columns}
            assert kept == old_columns, f"{revision}: {table}"
            for name in new_columns.keys() - old_columns.keys():
                column = new_columns[name]
                assert column["nullable"] == "True" or column["default"] != "None", (
                    f"{revision}: older code inserts into {table} without {name}"
                )
            for what in ("key", "unique", "foreign"):
                assert new[what] == old[what], f"{revision}: {table}"
            for index in new["indexes"]:
                assert index in old["indexes"] or index["unique"] in {"0", "False"}, (
                    f"{revision}: older code does not know that {index['name']} is unique"
                )
        before = after


def test_what_older_code_writes_can_be_read(empty_database: Database) -> None:
    migrate(empty_database)
    with empty_database.engine.begin() as connection:
        for statement in FIRST_ROWS:
            connection.execute(text(statement))
    with empty_database.reading() as session:
        assert session.scalars(select(Job)).one().traceparent is None


def test_a_migrated_database_says_which_code_may_use_it(empty_database: Database) -> None:
    assert schema_of(empty_database).fit is Fit.BEHIND
    migrate(empty_database, "0006")
    assert schema_of(empty_database) == Schema("0006", None)
    assert schema_of(empty_database).fit is Fit.BEHIND
    schema = migrate(empty_database)
    assert schema == schema_of(empty_database)
    assert schema.fit is Fit.CURRENT
    assert schema.oldest_revision == scripts_that_say()[0].module.oldest_revision


def test_a_later_releases_schema_is_left_alone_where_this_code_may_use_it(
    empty_database: Database,
) -> None:
    migrate(empty_database)
    become(empty_database, "9999", known_revisions()[-1])
    assert migrate(empty_database).fit is Fit.NEWER
    assert migrate(empty_database).usable
    assert version(empty_database) == ["9999"]


def test_a_later_releases_schema_is_refused_where_it_may_not(empty_database: Database) -> None:
    migrate(empty_database)
    become(empty_database, "9999", "9998")
    assert not schema_of(empty_database).usable
    with pytest.raises(TunesmithError, match=r"9999.*install the version"):
        migrate(empty_database)
    assert version(empty_database) == ["9999"]


def test_a_migration_that_fails_leaves_the_schema_as_it_was(empty_database: Database) -> None:
    migrate(empty_database, "0006")
    with empty_database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE leaders (mine INTEGER)"))
    with pytest.raises(TunesmithError, match=r"undone as a whole.*0006.*already exists"):
        migrate(empty_database)
    assert version(empty_database) == ["0006"]
    tables = inspect(empty_database.engine)
    assert [column["name"] for column in tables.get_columns("leaders")] == ["mine"]
    assert "schema_compatibility" not in tables.get_table_names()
    assert "traceparent" not in {column["name"] for column in tables.get_columns("jobs")}


def test_a_migration_that_cannot_have_a_table_stands_in_nobodys_way(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(migrate.__globals__, "_LOCK_PATIENCE", "SET LOCAL lock_timeout = '20ms'")
    database = Database(postgres_database)
    migrate(database, "0006")
    with database.reading() as session:
        session.execute(text("SELECT * FROM jobs"))
        with pytest.raises(Unavailable, match="lock timeout"):
            migrate(database)
    assert migrate(database).fit is Fit.CURRENT
    database.dispose()
