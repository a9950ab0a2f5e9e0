"""Which objects the database names as being there.

Not here: what may be missing without harm, as caches and the pages of evaluations. A backup copies
those too, as it finds them.
"""

from __future__ import annotations

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import (
    Adapter,
    DataReport,
    File,
    Job,
    Upload,
    UploadPart,
)
from tunesmith.platform.domain.job import FINAL
from tunesmith.platform.storage.adapters import ADAPTER_FILES


def named_objects(session: Session) -> set[str]:
    """Keys of all objects that a living row needs."""
    alive = File.deleted_at.is_(None)
    named: set[str | None] = set()
    for file in session.execute(select(File.storage_key, File.examples_key).where(alive)):
        named.update(file)
    named.update(session.scalars(select(DataReport.report_key).join(File).where(alive)))
    for digest in session.scalars(select(Adapter.digest).where(Adapter.deleted_at.is_(None))):
        named.update(f"adapters/{digest}/{name}" for name in ADAPTER_FILES)
    unfinished = Job.status.not_in(FINAL)
    named.update(session.scalars(select(Job.resume_key).where(unfinished)))
    named.update(
        session.scalars(
            select(Job.held_out_key)
            .join(File, File.id == Job.training_file)
            .where(unfinished, alive)
        )
    )
    named.update(
        session.scalars(
            select(UploadPart.storage_key)
            .join(Upload)
            .where(Upload.status == "pending", Upload.expires_at > time.time())
        )
    )
    return {key for key in named if key is not None}
