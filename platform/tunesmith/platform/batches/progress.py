"""What a batch's holder writes down, under its lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import files
from tunesmith.platform.database.models import Batch, File
from tunesmith.platform.files import StoredFile
from tunesmith.platform.webhooks.events import BATCH_ENDS
from tunesmith.platform.webhooks.outbox import announce

from .leases import Lease, held
from .segments import Results
from .status import CANCELLED, CANCELLING, FINALIZING, IN_PROGRESS, enter

PURPOSE = "batch_output"


def validated(session: Session, lease: Lease, total: int) -> str:
    """Its requests are well formed and as many as `total`; the batch's status.

    Raises:
        LeaseLost: it is somebody else's by now.
    """
    batch = held(session, lease)
    batch.total = total
    if batch.status != CANCELLING:
        enter(session, batch, IN_PROGRESS)
    return batch.status


def answered(session: Session, lease: Lease) -> str:
    """All of its requests are answered; the batch's status, which a cancel keeps `cancelling`.

    Raises:
        LeaseLost: it is somebody else's by now.
    """
    batch = held(session, lease)
    if batch.status == IN_PROGRESS:
        enter(session, batch, FINALIZING)
    return batch.status


def end(
    session: Session,
    lease: Lease,
    status: str,
    results: Results | None,
    errors: Sequence[dict[str, Any]] | None = None,
) -> str:
    """The batch has ended, with these files; the status that it ended in.

    One that is being cancelled has been cancelled, whatever else came to an end. The lease goes
    on: what is left in storage is to be removed.

    Raises:
        LeaseLost: it is somebody else's by now.
    """
    batch = held(session, lease)
    if results is not None:
        batch.completed, batch.failed = results.completed, results.failed
        batch.output_file = _add(session, batch, results.output, "output")
        batch.error_file = _add(session, batch, results.errors, "error")
    batch.errors = list(errors) if errors else None
    enter(session, batch, CANCELLED if batch.status == CANCELLING else status)
    announce(session, batch.tenant_id, BATCH_ENDS[batch.status], batch.id)
    return batch.status


def kept_keys(session: Session, batch_id: str) -> set[str]:
    """Where the files of an ended batch lie in storage."""
    of_batch = (File.id == Batch.output_file) | (File.id == Batch.error_file)
    query = select(File.storage_key).join(Batch, of_batch).where(Batch.id == batch_id)
    return set(session.scalars(query))


def _add(session: Session, batch: Batch, stored: StoredFile | None, name: str) -> str | None:
    if stored is None:
        return None
    return files.add_file(
        session,
        batch.tenant_id,
        stored,
        filename=f"{batch.id}_{name}.jsonl",
        purpose=PURPOSE,
        expires_after=batch.output_expires_after,
    ).id
