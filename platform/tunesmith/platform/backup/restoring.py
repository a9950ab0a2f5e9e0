"""Giving a backup back, into an empty stack."""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import func, inspect, select

from tunesmith.platform import heartbeats
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Heartbeat, Tenant
from tunesmith.platform.database.schema import known_revisions
from tunesmith.platform.storage import Storage

from . import postgres, sqlite
from .absent import forget_absent
from .archive import CHUNK_BYTES, Archive
from .copying import check, give_back
from .errors import BackupFailed, RestoreRefused
from .manifest import Manifest
from .named import named_objects

_CACHES: Final = ("health/", "evaluations/probes/")
"""What a platform that nobody has used yet may have in storage."""
_ALIVE_SECONDS: Final = 60.0


def check_backup(archive: Archive, manifest: Manifest) -> None:
    """Read all of a backup, and compare it with its digests.

    Raises:
        BackupFailed: something is missing or damaged.
        RestoreRefused: a newer Tunesmith made it.
    """
    _refuse_newer(manifest)
    _check_dump(archive, manifest)
    _check_index(archive, manifest)
    check(archive, archive.index(manifest.id))


def restore_backup(
    database: Database, storage: Storage, archive: Archive, manifest: Manifest
) -> None:
    """Restore a backup: objects first, the database last. What was interrupted can be repeated.

    Raises:
        RestoreRefused: database or storage are in use, or a newer Tunesmith made the backup.
        BackupFailed: the backup is damaged, or a tool failed. The database is still empty then.
        Unavailable: the database, the storage or the archive does not answer.
    """
    _refuse_newer(manifest)
    _refuse_other_kind(database, manifest)
    tables = _refuse_used_database(database)
    _check_index(archive, manifest)
    _refuse_used_storage(storage, archive, manifest)
    _check_dump(archive, manifest)
    give_back(archive, archive.index(manifest.id), storage)
    with archive.storage.open_read(archive.path(manifest.id, "database")) as source:
        if database.is_sqlite:
            database.dispose()
            sqlite.restore(database.url, source)
        else:
            postgres.drop_everything(database.engine, tables)
            postgres.restore(database.url, source)
    migrate(database)
    with database.transaction() as session:
        forget_absent(session, {*manifest.deleted_meanwhile, *manifest.lost})
        named = named_objects(session)
    left = sorted(named.difference(storage.list()))
    if left:
        raise BackupFailed(
            f"The database is restored, and {len(left)} objects that it names are missing in"
            f" {storage.url}, such as {left[0]}: this backup was not whole."
        )


def _refuse_newer(manifest: Manifest) -> None:
    if manifest.database.revision not in known_revisions():
        raise RestoreRefused(
            f"Backup {manifest.id} has the database's schema {manifest.database.revision} of"
            f" Tunesmith {manifest.tunesmith}, which this version does not know: restore with that"
            " version, or a newer one."
        )


def _refuse_other_kind(database: Database, manifest: Manifest) -> None:
    kind = "sqlite" if database.is_sqlite else "postgresql"
    if kind != manifest.database.kind:
        raise RestoreRefused(
            f"Backup {manifest.id} is of {manifest.database.kind}, and the database here is"
            f" {kind}: restore into the same kind (TUNESMITH_DATABASE_URL)."
        )


def _refuse_used_database(database: Database) -> set[str]:
    """The tables of a database that nobody has used yet."""
    database.ping()
    with database.engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
    foreign = tables - _tables_of_migrations() if tables else set()
    if foreign:
        raise RestoreRefused(
            f"The database has tables that are not the platform's ({', '.join(sorted(foreign)[:5])}"
            "): restore into a database of its own."
        )
    with database.reading() as session:
        if Tenant.__tablename__ in tables:
            tenants = session.scalar(select(func.count()).select_from(Tenant))
            if tenants:
                raise RestoreRefused(
                    f"The database has {tenants} tenants: a backup is restored into an empty one"
                    " only. Make a new database, or drop this one if nobody needs it."
                )
        if Heartbeat.__tablename__ in tables:
            for name in session.scalars(select(Heartbeat.name)).all():
                silence = heartbeats.age(session, name)
                if silence is not None and silence < _ALIVE_SECONDS:
                    raise RestoreRefused(
                        f"A {name.partition(':')[0]} works on this database (seen {silence:.0f} s"
                        " ago): stop the platform, and wait a minute."
                    )
    return tables


def _tables_of_migrations() -> set[str]:
    """All tables that the migrations make, those beside the models' included."""
    blank = Database("sqlite:///:memory:")
    migrate(blank)
    with blank.engine.connect() as connection:
        made = set(inspect(connection).get_table_names())
    blank.dispose()
    return made


def _refuse_used_storage(storage: Storage, archive: Archive, manifest: Manifest) -> None:
    there = {key for key in storage.list() if not key.startswith(_CACHES)}
    if not there:
        return
    foreign = there - {entry.key for entry in archive.index(manifest.id)}
    if foreign:  # else an interrupted restore of this very backup is repeated
        raise RestoreRefused(
            f"Storage {storage.url} has {len(foreign)} objects that are not of this backup, such as"
            f" {min(foreign)}: a backup is restored into an empty folder, bucket or prefix."
        )


def _check_dump(archive: Archive, manifest: Manifest) -> None:
    key = archive.path(manifest.id, "database")
    _compare(archive, key, manifest.database.sha256)


def _check_index(archive: Archive, manifest: Manifest) -> None:
    key = archive.path(manifest.id, "objects.jsonl.gz")
    _compare(archive, key, manifest.storage.sha256)


def _compare(archive: Archive, key: str, sha256: str) -> None:
    digest = hashlib.sha256()
    with archive.storage.open_read(key) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise BackupFailed(
            f"{key} of {archive.storage.url} is damaged: its SHA-256 is not the manifest's. Use"
            " another backup."
        )
