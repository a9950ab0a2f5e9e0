"""Bring a database to the newest schema. Safe to call from several processes at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from .connection import Database

_LOCK = 7_423_019_254  # any number that only Tunesmith's migrations use


def migrate(database: Database, revision: str = "head") -> None:
    """Run the migrations up to `revision`, under a lock that other migrations wait for."""
    with database.engine.begin() as connection:
        if not database.is_sqlite:  # SQLite's write lock is taken by BEGIN IMMEDIATE
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
