"""Bring a database to the newest schema. Safe to call from several processes at once."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import text

from tunesmith.platform.domain.errors import TunesmithError

from .connection import Database, readable_errors

_LOCK = 7_423_019_254  # any number that only Tunesmith's migrations use
_alembic = threading.Lock()  # Alembic keeps the migration at hand in module globals


def migrate(database: Database, revision: str = "head") -> None:
    """Run the migrations up to `revision`, under a lock that other migrations wait for.

    Raises:
        Unavailable: the database cannot be reached, is locked for too long, or is full.
        TunesmithError: a newer Tunesmith has made the database.
    """
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    with _alembic, readable_errors(), database.engine.begin() as connection:
        if not database.is_sqlite:  # SQLite's write lock is taken by BEGIN IMMEDIATE
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise TunesmithError(
                f"The database's schema is not one of this version of Tunesmith ({error}):"
                " install the version that made it, or a newer one."
            ) from error
