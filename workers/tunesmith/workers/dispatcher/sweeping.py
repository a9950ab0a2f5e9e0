"""What nobody asks for any more and no request deletes: expired files, forgotten adapters."""

from __future__ import annotations

import structlog

from tunesmith.platform import adapters, files, models
from tunesmith.platform.database import Database
from tunesmith.platform.storage import Storage

log = structlog.get_logger()

_FORGOTTEN_SECONDS = 3600.0


def sweep(database: Database, storage: Storage) -> None:
    """Delete the bytes of expired files, and adapters that nothing has referred to for an hour.

    The rows are marked first: what storage does not delete now is an object without a row.

    Raises:
        StorageUnavailable: storage does not answer; the next sweep goes on.
    """
    keys: list[str] = []
    with database.transaction() as session:
        for file in files.expired_files(session):
            keys += files.delete_expired(session, file)
    for key in keys:
        storage.delete(key)
    with database.reading() as session:
        forgotten = models.unreferred(session, older_than=_FORGOTTEN_SECONDS)
    deleted = adapters.delete_unreferred(database, storage, forgotten)
    if keys or deleted:
        log.info("swept", objects=len(keys), adapters=len(deleted))
