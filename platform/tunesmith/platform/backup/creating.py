"""Making a backup while the platform runs.

Storage is copied, then the database at one moment, then what has come into storage since. Objects
are written before the rows that name them and never change, so whatever the dump names has been
copied, unless it was deleted in between: that is written down, and deleted in what is restored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import func, inspect, select, text
from sqlalchemy.orm import Session

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Base
from tunesmith.platform.storage import Storage

from . import postgres, sqlite
from .archive import Archive, Entry
from .copying import Copier
from .errors import BackupFailed
from .manifest import DatabaseDump, Manifest, ObjectIndex
from .named import named_objects


@dataclass(frozen=True)
class Made:
    """A backup that was made, and the bytes of objects that were not in the archive before."""

    manifest: Manifest
    copied_bytes: int


def create_backup(database: Database, storage: Storage, archive: Archive) -> Made:
    """Back up `database` and `storage` into `archive`.

    Raises:
        BackupFailed: the archive lies in the storage, or the other way; or a tool failed.
        Unavailable: the database, the storage or the archive does not answer.
    """
    _refuse_overlap(storage, archive.storage)
    _refuse_other_schema(database)
    backup_id = archive.begin()
    copier = Copier(storage, archive, _entries_of_the_last(archive))
    copier.copy_all()
    dumped, named = _dump(database, archive, backup_id)
    present = copier.copy_all()
    kept = {key: e for key, e in copier.entries.items() if key in present or key in named}
    absent = named - kept.keys()
    lost = absent & _named_now(database) if absent else set()
    entries = [kept[key] for key in sorted(kept)]
    manifest = Manifest(
        id=backup_id,
        created_at=time.time(),
        tunesmith=version("tunesmith"),
        database=dumped,
        storage=ObjectIndex(
            objects=len(entries),
            bytes=sum(entry.bytes for entry in entries),
            sha256=archive.write_index(backup_id, entries),
        ),
        deleted_meanwhile=sorted(absent - lost),
        lost=sorted(lost),
    )
    archive.finish(manifest)
    return Made(manifest, copier.written_bytes)


def _entries_of_the_last(archive: Archive) -> Iterator[Entry]:
    whole = archive.whole()
    return archive.index(whole[-1]) if whole else iter(())


def _named_now(database: Database) -> set[str]:
    with database.reading() as session:
        return named_objects(session)


def _dump(database: Database, archive: Archive, backup_id: str) -> tuple[DatabaseDump, set[str]]:
    """Dump the database at one moment; what the dump is, and the objects that it names."""
    with archive.storage.writer() as out:
        if database.is_sqlite:
            with sqlite.snapshot(database) as (session, file):
                facts, named = _facts(session), named_objects(session)
                with file.open("rb") as stream:
                    while chunk := stream.read(1024 * 1024):
                        out.write(chunk)
        else:
            with postgres.snapshot(database) as (session, name):
                facts, named = _facts(session), named_objects(session)
                postgres.dump(database.url, name, out.write)
        out.commit(archive.path(backup_id, "database"))
    server, revision, rows = facts
    dumped = DatabaseDump(
        kind="sqlite" if database.is_sqlite else "postgresql",
        server=server,
        revision=revision,
        rows=rows,
        bytes=out.size,
        sha256=out.sha256,
    )
    return dumped, named


def _facts(session: Session) -> tuple[str, str, dict[str, int]]:
    """Version of the server, revision of the schema, rows of each table."""
    sqlite_database = session.get_bind().dialect.name == "sqlite"
    server = session.scalar(
        text("SELECT sqlite_version()" if sqlite_database else "SHOW server_version")
    )
    revision = session.scalar(text("SELECT version_num FROM alembic_version"))
    rows = {
        name: session.scalar(select(func.count()).select_from(table)) or 0
        for name, table in sorted(Base.metadata.tables.items())
    }
    return str(server), str(revision), rows


def _refuse_other_schema(database: Database) -> None:
    """Refuse a database that this version did not make, before anything is copied."""
    database.ping()
    with database.engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
    missing = set(Base.metadata.tables) - there
    if missing:
        raise BackupFailed(
            f"The database lacks the tables {', '.join(sorted(missing))}: it is not a"
            " platform's, or one of another version. Back it up with the version that runs on it."
        )


def _refuse_overlap(storage: Storage, archive: Storage) -> None:
    one, other = _place(storage.url), _place(archive.url)
    if one.startswith(other) or other.startswith(one):
        raise BackupFailed(
            f"The backup's place {archive.url} and the platform's storage {storage.url} lie in each"
            " other: choose another folder, bucket or prefix."
        )


def _place(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return f"{Path(unquote(parts.path) if parts.scheme else url).expanduser().resolve()}/"
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/") + "/"
