"""`tunesmith migrate`: once the database answers, as often as one likes, with an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import text
from tests.platform.cli.conftest import Run

from tunesmith.platform.database import Database


def test_it_migrates_and_may_be_repeated(run: Run, postgres_database: str) -> None:
    for _ in range(2):
        done = run("migrate", "--database-url", postgres_database)
        assert (done.code, done.err) == (0, "")
        assert "up to date" in done.out
    database = Database(postgres_database)  # and a later release's
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    done = run("migrate", "--database-url", postgres_database)
    assert done.code == 0
    assert "is 9999: later than this release's, which may use it" in done.out
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE schema_compatibility SET oldest_revision = '9998'"))
    database.dispose()
    done = run("migrate", "--database-url", postgres_database)
    assert done.code == 1
    assert "may not be used by this one" in done.err


def test_it_has_a_name_that_needs_no_script(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tunesmith.platform.database"),
            *("--database-url", f"sqlite:///{tmp_path / 'tunesmith.db'}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"The schema of the SQLite file {tmp_path / 'tunesmith.db'} is 0" in done.stdout


def test_a_database_that_does_not_come_is_given_up(run: Run, tmp_path: Path) -> None:
    url = f"postgresql://ada:secret@/tunesmith?host={tmp_path}"
    done = run("migrate", "--database-url", url, "--timeout", "0.6")
    assert done.code == 1
    waited, gave_up = done.err.splitlines()[0], done.err.splitlines()[-1]
    assert "waiting for the database" in waited
    assert "next_try_seconds" in waited
    assert gave_up.startswith(
        f"Error: Gave up on the PostgreSQL database 'tunesmith' at {tmp_path}:5432 after 0.6 s: "
    )
    assert "secret" not in done.err
