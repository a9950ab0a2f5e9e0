"""Connections and transactions, on PostgreSQL or SQLite.

One request or one task is one transaction, and none is held across slow work. The same
synchronous code serves the gateway (in its thread pool), the dispatcher and the CLI.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from tunesmith.platform.domain.errors import Unavailable


class Database:
    """A database and its transactions. Safe to share between threads, not between processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _create_engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether the embedded database is used."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose work is committed at the end, or undone by an exception.

        Raises:
            Unavailable: the database cannot be reached, is locked for too long, or is full.
        """
        try:
            with self._sessions() as session, session.begin():
                yield session
        except OperationalError as error:
            raise Unavailable(
                f"The database is not available: {_first_line(error)}", code="database_unavailable"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads: on SQLite it does not wait for a writer."""
        try:
            with self._sessions() as session:
                session.connection(execution_options={"tunesmith_read_only": True})
                yield session
        except OperationalError as error:
            raise Unavailable(
                f"The database is not available: {_first_line(error)}", code="database_unavailable"
            ) from error

    def ping(self) -> None:
        """Return when the database answers, else raise `Unavailable`."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().split("\n", 1)[0]


def _create_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 30.0, "check_same_thread": False})

    # sqlite3's own transaction handling starts late and upgrades a read to a write lock, which
    # fails at once when another process writes; `BEGIN IMMEDIATE` waits its turn instead.
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "busy_timeout=30000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        read_only = connection.get_execution_options().get("tunesmith_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
