"""Connections and transactions, on PostgreSQL or SQLite.

One request or one task is one transaction, and none is held across slow work. The same
synchronous code serves the gateway (in its thread pool), the dispatcher and the CLI.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool

from tunesmith.platform.domain.errors import InvalidRequest, Unavailable

_LOCK_SECONDS = 30.0

# Each may be overridden in the URL, as in ?connect_timeout=2&target_session_attrs=any
# (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS).
_POSTGRES_CONNECTION = {
    "connect_timeout": 5,
    "fallback_application_name": "tunesmith",
    # After a failover the name may still lead to the old primary, which can only be read.
    "target_session_attrs": "read-write",
    # A peer that vanished is found within 30 s, not after the 15 minutes and 2 hours of TCP.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
    # The server's side: what is asked ends, and the locks of a client that vanished are let go.
    "options": "-c statement_timeout=60s -c idle_in_transaction_session_timeout=60s",
}
_READ_ONLY = "25006"  # read_only_sql_transaction

_SQLITE_PATIENCE_SECONDS = 30.0

Observe = Callable[[str, float, str | None], None]
"""Called at the end of a transaction with its kind (`read` or `write`), its seconds and, where
the database failed it, why: `unavailable` or `pool_exhausted`."""


class Database:
    """A database and its transactions. Safe to share between threads, not between processes.

    Attributes:
        observe: told of every transaction, where something keeps figures.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.observe: Observe | None = None
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
            InvalidRequest: a value cannot be kept in the database, as a text with a NUL.
        """
        with (
            self._observed("write"),
            readable_errors(),
            self._sessions() as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads: on SQLite it does not wait for a writer.

        Raises:
            Unavailable: the database cannot be reached.
            InvalidRequest: a value cannot be in the database, as a text with a NUL.
        """
        with self._observed("read"), readable_errors(), self._sessions() as session:
            session.connection(execution_options={"tunesmith_read_only": True})
            yield session

    @property
    def place(self) -> str:
        """Which database it is, for people and logs: host, port and name, never a password."""
        url = self.engine.url
        if self.is_sqlite:
            return f"the SQLite file {url.database or ':memory:'}"
        hosts = url.host or url.query.get("host") or "localhost"
        named = hosts if isinstance(hosts, str) else ",".join(hosts)
        port = url.port or url.query.get("port") or 5432
        return f"the PostgreSQL database {url.database or url.username!r} at {named}:{port}"

    def ping(self) -> None:
        """Return when the database answers, else raise `Unavailable`."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    @property
    def connections(self) -> tuple[int, int, int]:
        """Connections in use, those that are idle, and how many there may be."""
        pool: Any = self.engine.pool
        if not isinstance(pool, QueuePool):  # SQLite in memory: one connection
            return 0, 1, 1
        return pool.checkedout(), pool.checkedin(), pool.size() + pool._max_overflow

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _observed(self, kind: str) -> Iterator[None]:
        observe = self.observe
        if observe is None:
            yield
            return
        started = time.perf_counter()
        failed: str | None = None
        try:
            yield
        except Unavailable as error:
            if error.code == "database_unavailable":  # else the caller's own, raised in the block
                exhausted = isinstance(error.__cause__, PoolTimeout)
                failed = "pool_exhausted" if exhausted else "unavailable"
            raise
        finally:
            observe(kind, time.perf_counter() - started, failed)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what the driver says of an absent database, or of a bad value, into our errors.

    Everything else, as a broken constraint, is a mistake of ours and passes unchanged.
    """
    try:
        yield
    except DataError as error:
        raise InvalidRequest(
            f"A value cannot be kept: {first_line(error)}", code="invalid_value"
        ) from error
    except PoolTimeout as error:
        raise Unavailable(
            "The database is not available: all connections to it are in use.",
            code="database_unavailable",
        ) from error
    except DBAPIError as error:
        if is_away(error):
            raise Unavailable(
                f"The database is not available: {first_line(error)}", code="database_unavailable"
            ) from error
        raise


def is_away(error: DBAPIError) -> bool:
    """Whether it says that the database cannot do its work now, not that the work is wrong."""
    return (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or getattr(error.orig, "sqlstate", None) == _READ_ONLY
    )


def first_line(error: DBAPIError) -> str:
    """What the driver says, without the statement and its values."""
    return str(error.orig).strip().split("\n", 1)[0]


def _create_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:  # it does not repeat the URL, which may hold a password
        raise InvalidRequest(
            f"The database URL is not one: {error}", param="database_url"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return create_engine(
            parsed,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            connect_args={
                name: value
                for name, value in _POSTGRES_CONNECTION.items()
                if name not in parsed.query
            },
        )
    if backend != "sqlite":
        raise InvalidRequest(
            f"The database {backend!r} is not supported; use PostgreSQL or SQLite.",
            param="database_url",
        )
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed, connect_args={"timeout": _LOCK_SECONDS, "check_same_thread": False}
    )

    # sqlite3's own transaction handling starts late and upgrades a read to a write lock, which
    # fails at once when another process writes; `BEGIN IMMEDIATE` waits its turn instead.
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        _use_write_ahead_log(connection)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        read_only = connection.get_execution_options().get("tunesmith_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch a new database to WAL; processes that open it at the same moment wait their turn.

    SQLite does not wait by itself here: where another process is switching, it answers "locked" at
    once, whatever the busy timeout (https://sqlite.org/wal.html#sometimes_queries_return_sqlite_busy).
    """
    deadline = time.monotonic() + _SQLITE_PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
