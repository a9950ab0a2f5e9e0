"""`tunesmith migrate`: once the database answers, as often as one likes, with an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import text
from tests.platform.cli.conftest import run_program

from tunesmith.platform.database import Database


def test_it_migrates_and_may_be_repeated(tmp_path: Path, postgres_database: str) -> None:
    first = run_program("migrate", "--database-url", postgres_database)
    assert (first.returncode, first.stderr) == (0, ""), first.stderr
    assert "is 0" in first.stdout
    assert "up to date" in first.stdout
    # The same by the other name, on what a later release has made of it
    database = Database(postgres_database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    command = [sys.executable, "-m", "tunesmith.platform.database"]
    again = subprocess.run(
        [*command, "--database-url", postgres_database], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "is 9999: later than this release's, which may use it" in again.stdout
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE schema_compatibility SET oldest_revision = '9998'"))
    database.dispose()
    refused = run_program("migrate", "--database-url", postgres_database)
    assert refused.returncode == 1
    assert "may not be used by this one" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_database_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    url = f"postgresql://ada:secret@/tunesmith?host={tmp_path}"
    done = run_program("migrate", "--database-url", url, "--timeout", "0.6")
    assert done.returncode == 1
    waited, gave_up = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert "waiting for the database" in waited
    assert "next_try_seconds" in waited
    assert gave_up.startswith(
        f"Error: Gave up on the PostgreSQL database 'tunesmith' at {tmp_path}:5432 after 0.6 s: "
    )
    assert "secret" not in done.stderr
