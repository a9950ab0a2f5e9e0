"""Parts of uploads that have ended: deleted at once, or by the next sweep."""

from __future__ import annotations

import time

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Upload, UploadPart
from tunesmith.platform.storage import Storage

from .uploads import EXPIRED, LIFE_SECONDS, PENDING, folder

GRACE_SECONDS = LIFE_SECONDS
"""How long parts outlive their time, in seconds: putting them together may have begun before."""

_AT_ONCE = 100


def delete_parts(database: Database, storage: Storage, upload_id: str) -> None:
    """Delete the parts of an upload that has ended; those of no row besides.

    Rows go last: what storage does not delete now is found by the next sweep.

    Raises:
        StorageUnavailable: storage does not answer.
    """
    storage.delete_tree(folder(upload_id))
    with database.transaction() as session:
        session.execute(delete(UploadPart).where(UploadPart.upload_id == upload_id))


def sweep(database: Database, storage: Storage) -> int:
    """End uploads whose time is over, and delete what parts ended uploads still have; how many.

    Raises:
        StorageUnavailable: storage does not answer; the next sweep goes on.
    """
    with database.transaction() as session:
        ended = _expire(session)
        ended += session.scalars(
            select(UploadPart.upload_id)
            .join(Upload, Upload.id == UploadPart.upload_id)
            .where(Upload.status != PENDING)
            .distinct()
            .limit(_AT_ONCE)
        )
    uploads = list(dict.fromkeys(ended))
    for upload_id in uploads:
        delete_parts(database, storage, upload_id)
    return len(uploads)


def _expire(session: Session) -> list[str]:
    over = session.scalars(
        select(Upload)
        .where(Upload.status == PENDING, Upload.expires_at <= time.time() - GRACE_SECONDS)
        .order_by(Upload.expires_at)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for upload in over:
        upload.status = EXPIRED
    session.flush()
    return [upload.id for upload in over]
