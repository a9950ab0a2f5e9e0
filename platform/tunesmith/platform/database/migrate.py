"""Bring a database to the newest schema. Safe to call from several processes at once."""

from __future__ import annotations

import threading

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tunesmith.platform.domain.errors import TunesmithError

from .connection import Database, first_line, is_away, readable_errors
from .schema import Fit, Schema, alembic_config, read_schema

log = structlog.get_logger(__name__)

_LOCK = 7_423_019_254  # any number that only Tunesmith's migrations use
_alembic = threading.Lock()  # Alembic keeps the migration at hand in module globals

# A change of a table waits for those who use it, and all who come later wait behind it: it gives
# up soon, undone as a whole, and is tried again. What it does once it has the lock takes its time.
_PATIENCE = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
_LOCK_PATIENCE = "SET LOCAL lock_timeout = '5s'"


def migrate(database: Database, revision: str = "head") -> Schema:
    """Run the migrations up to `revision`, under a lock that other migrations wait for.

    All of them are one transaction: one that fails leaves the database as it was. A schema of a
    later release that this code may use is left as it is.

    Returns:
        The schema as it is now.

    Raises:
        Unavailable: the database cannot be reached, is locked for too long, or is full.
        TunesmithError: a later Tunesmith made the database, or a migration failed.
    """
    config = alembic_config()
    with _alembic, readable_errors(), database.engine.begin() as connection:
        if not database.is_sqlite:  # SQLite's write lock is taken by BEGIN IMMEDIATE
            for statement in _PATIENCE:
                connection.execute(text(statement))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            connection.execute(text(_LOCK_PATIENCE))
        before = read_schema(connection)
        if before.fit is Fit.TOO_NEW:
            raise TunesmithError(
                "The database is a later Tunesmith's and may not be used by this one"
                f" ({before}): install the version that made it, or a later one."
            )
        if before.fit is Fit.NEWER:
            log.warning(
                "the database's schema is a later release's, which this code may use; it is left"
                " as it is",
                database=database.place,
                schema=before.revision,
            )
            return before
        config.attributes["connection"] = connection
        _upgrade(config, revision, before)
        return read_schema(connection)


def _upgrade(config: Config, revision: str, before: Schema) -> None:
    try:
        command.upgrade(config, revision)
    except DBAPIError as error:
        # To SQLite's driver a table that is there already is an operational error, too.
        wrong = getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR"
        if is_away(error) and not wrong:
            raise
        raise TunesmithError(
            "The migration failed and was undone as a whole, so what runs on the schema"
            f" {before.revision} goes on: {first_line(error)}"
        ) from error
