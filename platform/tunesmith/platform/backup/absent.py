"""What becomes of rows whose objects were gone before a backup could copy them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tunesmith.platform import claims
from tunesmith.platform.database.models import (
    Adapter,
    DataReport,
    File,
    Job,
    Model,
    Upload,
    UploadPart,
)

_AT_ONCE: Final = 500
"""Values in one statement; SQLite takes 32,766 at most."""


def forget_absent(session: Session, absent: Collection[str]) -> None:
    """Do to the rows of absent objects what was done to the objects.

    Files, and models whose adapters are absent, are deleted; an upload that lacks a part is
    cancelled; a job whose state is absent begins anew, and so does a data report.
    """
    now = time.time()
    for keys in _parts(absent):
        session.execute(
            update(File)
            .where(File.deleted_at.is_(None))
            .where(File.storage_key.in_(keys) | File.examples_key.in_(keys))
            .values(deleted_at=now)
        )
        session.execute(
            update(Job).where(Job.resume_key.in_(keys)).values(resume_key=None, resume_step=0)
        )
        session.execute(
            update(DataReport)
            .where(DataReport.report_key.in_(keys))
            .values(report_key=None, status=claims.QUEUED, attempts=0)
        )
        parts = select(UploadPart.upload_id).where(UploadPart.storage_key.in_(keys))
        session.execute(
            update(Upload)
            .where(Upload.status == "pending", Upload.id.in_(parts))
            .values(status="cancelled")
        )
    digests = {key.split("/")[1] for key in absent if key.startswith("adapters/")}
    for names in _parts(digests):
        session.execute(
            update(Model)
            .where(Model.deleted_at.is_(None), Model.adapter_digest.in_(names))
            .values(deleted_at=now)
        )
        session.execute(
            update(Adapter)
            .where(Adapter.deleted_at.is_(None), Adapter.digest.in_(names))
            .values(deleted_at=now)
        )


def _parts(values: Collection[str]) -> Iterator[list[str]]:
    ordered = iter(sorted(values))
    while part := list(islice(ordered, _AT_ONCE)):
        yield part
