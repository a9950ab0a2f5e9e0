"""Adapters' rows and files together: when files may go, and whether they are still there.

Adapters are shared by content: while one model of a digest is deleted, an equal job may end with
the same digest. Both sides hold the digest's lock, so one of them sees what the other did.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy.orm import Session

from tunesmith.platform.database import Database
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import Adapter
from tunesmith.platform.models import is_referred
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import adapter_exists, delete_adapter


def hold_stored(session: Session, storage: Storage, digest: str) -> bool:
    """Whether the adapter's files are there; they stay until the transaction ends."""
    lock_name(session, f"adapter {digest}")
    return adapter_exists(storage, digest)


def delete_unreferred(database: Database, storage: Storage, digests: Iterable[str]) -> list[str]:
    """Delete the files of those adapters that nothing refers to; what was deleted.

    Raises:
        StorageUnavailable: storage does not answer; a sweep deletes the rest later.
    """
    deleted = []
    for digest in digests:
        with database.transaction() as session:
            lock_name(session, f"adapter {digest}")
            if is_referred(session, digest):
                continue
            delete_adapter(storage, digest)
            row = session.get(Adapter, digest)
            if row is not None:
                row.deleted_at = time.time()
        deleted.append(digest)
    return deleted
