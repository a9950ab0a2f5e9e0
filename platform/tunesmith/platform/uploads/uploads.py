"""Uploads and their parts, as their tenant makes and ends them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Upload, UploadPart
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound, TooLarge

PENDING, COMPLETED, CANCELLED, EXPIRED = "pending", "completed", "cancelled", "expired"

LIFE_SECONDS = 3600.0
"""How long parts may come, as at OpenAI."""

MAX_PART_BYTES = 64 * 1024 * 1024
"""Largest part, in bytes, as at OpenAI."""

MAX_PARTS = 10_000


def folder(upload_id: str) -> str:
    """Where an upload's parts lie in storage."""
    return f"uploads/{upload_id}"


def create_upload(
    session: Session,
    tenant_id: str,
    *,
    filename: str,
    purpose: str,
    size: int,
    mime_type: str,
    expires_after: int | None = None,
) -> Upload:
    """A new upload of `size` bytes; `expires_after` (seconds) is the later file's."""
    moment = time.time()
    upload = Upload(
        id=ids.upload_id(),
        tenant_id=tenant_id,
        filename=filename,
        purpose=purpose,
        bytes=size,
        mime_type=mime_type,
        status=PENDING,
        created_at=moment,
        expires_at=moment + LIFE_SECONDS,
        expires_after=expires_after,
    )
    session.add(upload)
    session.flush()
    return upload


def get_upload(session: Session, tenant_id: str, upload_id: str, *, lock: bool = False) -> Upload:
    """A tenant's upload, locked until the transaction ends if asked for.

    Raises:
        NotFound: it does not exist, or is another tenant's.
    """
    query = select(Upload).where(Upload.id == upload_id, Upload.tenant_id == tenant_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    upload = session.scalars(query).one_or_none()
    if upload is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="upload_id")
    return upload


def check_pending(upload: Upload) -> None:
    """Refuse an upload that has ended.

    Raises:
        InvalidRequest: it is completed or cancelled, or its time is over.
    """
    status = status_of(upload)
    if status == EXPIRED:
        raise InvalidRequest(
            f"The upload {upload.id} has expired: an upload is kept for"
            f" {LIFE_SECONDS / 60:.0f} minutes. Create another and send its parts again.",
            code="upload_expired",
        )
    if status != PENDING:
        raise InvalidRequest(
            f"The upload {upload.id} is {status} already.", code="invalid_upload_state"
        )


def status_of(upload: Upload) -> str:
    """Its status now: one whose time is over may not have been swept yet."""
    if upload.status == PENDING and upload.expires_at <= time.time():
        return EXPIRED
    return upload.status


def part_key(upload_id: str, part_id: str) -> str:
    """Where a part lies in storage."""
    return f"{folder(upload_id)}/{part_id}"


def add_part(
    session: Session, tenant_id: str, upload_id: str, part_id: str, size: int
) -> UploadPart:
    """Write a part down whose bytes lie in storage.

    A part that a client sent twice, because an answer was lost, is one too many: so parts may
    have more bytes together than the upload, up to twice as many and a part.

    Raises:
        NotFound: no such upload of this tenant.
        InvalidRequest: it has ended, or has too many parts.
        TooLarge: its parts have far more bytes than it was to have.
    """
    upload = get_upload(session, tenant_id, upload_id, lock=True)
    check_pending(upload)
    number, stored = session.execute(
        select(func.count(UploadPart.seq), func.coalesce(func.sum(UploadPart.bytes), 0)).where(
            UploadPart.upload_id == upload_id
        )
    ).one()
    if number >= MAX_PARTS:
        raise InvalidRequest(
            f"The upload {upload_id} has {MAX_PARTS:,} parts already; make them larger.",
            code="too_many_parts",
        )
    if stored + size > 2 * upload.bytes + MAX_PART_BYTES:
        raise TooLarge(
            f"The parts of the upload {upload_id} have {stored + size:,} bytes with this one; it"
            f" was created for {upload.bytes:,}.",
            param="data",
        )
    part = UploadPart(
        id=part_id,
        upload_id=upload_id,
        bytes=size,
        storage_key=part_key(upload_id, part_id),
        created_at=time.time(),
    )
    session.add(part)
    session.flush()
    return part


def chosen_parts(session: Session, upload: Upload, part_ids: Sequence[str]) -> list[UploadPart]:
    """The parts of these ids in their order, which must add up to the upload's bytes.

    Raises:
        InvalidRequest: an id is unknown or named twice, or the bytes are more or fewer.
    """
    found = {
        part.id: part
        for part in session.scalars(select(UploadPart).where(UploadPart.upload_id == upload.id))
    }
    for place, part_id in enumerate(part_ids):
        if part_id not in found:
            raise InvalidRequest(
                f"The upload {upload.id} has no part {part_id[:80]!r}.",
                param=f"part_ids.{place}",
                code="part_not_found",
            )
    if len(set(part_ids)) != len(part_ids):
        raise InvalidRequest("`part_ids` names a part twice.", param="part_ids")
    parts = [found[part_id] for part_id in part_ids]
    size = sum(part.bytes for part in parts)
    if size != upload.bytes:
        raise InvalidRequest(
            f"The parts have {size:,} bytes together; the upload was created for"
            f" {upload.bytes:,}. Name every part once, in order.",
            param="part_ids",
            code="bytes_mismatch",
        )
    return parts


def cancel_upload(session: Session, tenant_id: str, upload_id: str) -> Upload:
    """Cancel an upload; cancelling it again changes nothing.

    Raises:
        NotFound: no such upload of this tenant.
        InvalidRequest: it is completed or has expired.
    """
    upload = get_upload(session, tenant_id, upload_id, lock=True)
    if upload.status != CANCELLED:
        check_pending(upload)
        upload.status = CANCELLED
        session.flush()
    return upload
