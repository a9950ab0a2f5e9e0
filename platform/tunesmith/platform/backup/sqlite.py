"""SQLite by its backup API: one moment of the database, while others write."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import Unavailable

from .archive import CHUNK_BYTES
from .errors import BackupFailed

_PATIENCE_S = 30.0


@contextmanager
def snapshot(database: Database) -> Iterator[tuple[Session, Path]]:
    """A session on a copy of the database, and the copy: a single file, gone afterwards."""
    source = database_file(database.url)
    with tempfile.TemporaryDirectory(prefix="tunesmith-backup-") as folder:
        copied, file = Path(folder) / "read.db", Path(folder) / "database"
        _copy(source, copied)
        # Reading through our connections leaves a journal beside the file: so not of this one.
        _copy(copied, file)
        copy = Database(f"sqlite:///{copied}")
        try:
            with copy.reading() as session:
                yield session, file
        finally:
            copy.dispose()


def database_file(url: str) -> Path:
    """The database's file.

    Raises:
        BackupFailed: it is in memory, and is nobody's but its process'.
    """
    name = make_url(url).database
    if not name or name == ":memory:":
        raise BackupFailed("A database in memory cannot be backed up.")
    return Path(name)


def restore(url: str, source: BinaryIO) -> None:
    """Put the file in the place of an empty database, at once."""
    target = database_file(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".restoring-")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as out:
            while chunk := source.read(CHUNK_BYTES):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        _check(Path(name))
        for journal in ("-wal", "-shm"):  # of the database that was here
            target.with_name(target.name + journal).unlink(missing_ok=True)
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def _check(file: Path) -> None:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if answer != "ok":
        raise BackupFailed(f"The backup's database is damaged: {answer}")


def _copy(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=_PATIENCE_S)) as a,
            closing(sqlite3.connect(target)) as b,
        ):
            a.backup(b)
            b.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        raise Unavailable(f"The database {source} cannot be read: {error}.") from error
