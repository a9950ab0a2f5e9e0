"""Files: rows beside the bytes that lie in storage."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tunesmith.platform import data_reports
from tunesmith.platform.database.models import File, Job
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.examples import ExamplesKind


@dataclass(frozen=True)
class StoredFile:
    """Bytes that lie in storage.

    Of a training file `examples_key` is its normalised form, `examples` their number and `kind`
    what they are.
    """

    storage_key: str
    bytes: int
    sha256: str
    examples_key: str | None = None
    examples: int | None = None
    kind: ExamplesKind | None = None


def original_key(tenant_id: str, sha256: str) -> str:
    """Where the bytes of a tenant's upload lie. Tenants never share an object."""
    return f"tenants/{tenant_id}/files/{sha256}"


def examples_key(tenant_id: str, sha256: str) -> str:
    """Where the normalised examples of a tenant's upload lie."""
    return f"tenants/{tenant_id}/examples/{sha256}.jsonl"


def add_file(
    session: Session,
    tenant_id: str,
    stored: StoredFile,
    *,
    filename: str,
    purpose: str,
    expires_after: float | None = None,
) -> File:
    """Write a stored file down as a tenant's; of examples a data report is asked for."""
    moment = time.time()
    file = File(
        id=ids.file_id(),
        tenant_id=tenant_id,
        filename=filename,
        purpose=purpose,
        bytes=stored.bytes,
        sha256=stored.sha256,
        status="processed",
        storage_key=stored.storage_key,
        examples_key=stored.examples_key,
        examples=stored.examples,
        kind=stored.kind,
        created_at=moment,
        expires_at=None if expires_after is None else moment + expires_after,
    )
    session.add(file)
    session.flush()
    if file.examples_key is not None:
        data_reports.ask_for(session, file.id)
    return file


def get_file(session: Session, tenant_id: str, file_id: str) -> File:
    """A tenant's file.

    Raises:
        NotFound: it does not exist, was deleted, has expired, or is another tenant's.
    """
    file = session.scalars(
        select(File).where(
            File.id == file_id,
            File.tenant_id == tenant_id,
            File.deleted_at.is_(None),
            or_(File.expires_at.is_(None), File.expires_at > time.time()),
        )
    ).one_or_none()
    if file is None:
        raise NotFound(f"No such File object: {file_id}", param="id", code="not_found")
    return file


def list_files(
    session: Session,
    tenant_id: str,
    *,
    purpose: str | None = None,
    after: str | None = None,
    limit: int = 10_000,
    newest_first: bool = True,
) -> Page[File]:
    """A tenant's files.

    `after` may have been deleted since: clients delete files as they page through them.

    Raises:
        NotFound: `after` names no file that this tenant ever had.
    """
    query = select(File).where(
        File.tenant_id == tenant_id,
        File.deleted_at.is_(None),
        or_(File.expires_at.is_(None), File.expires_at > time.time()),
    )
    if purpose is not None:
        query = query.where(File.purpose == purpose)
    after_seq = None
    if after:
        after_seq = session.scalar(
            select(File.seq).where(File.id == after, File.tenant_id == tenant_id)
        )
        if after_seq is None:
            raise NotFound(f"No such File object: {after}", param="after", code="not_found")
    return page(
        session, query, File.seq, after_seq=after_seq, limit=limit, newest_first=newest_first
    )


def expired_files(session: Session, *, limit: int = 100) -> list[File]:
    """Files whose time is over and whose bytes are still kept."""
    query = select(File).where(File.expires_at <= time.time(), File.deleted_at.is_(None))
    # In the order of `files_by_expiry`: by `seq`, planners walk through all files of all tenants.
    return list(session.scalars(query.order_by(File.expires_at).limit(limit)))


def delete_file(session: Session, tenant_id: str, file_id: str) -> list[str]:
    """Delete a tenant's file.

    Returns:
        Storage keys that no other file of the tenant uses: to be deleted from storage.

    Raises:
        NotFound: no such file of this tenant.
    """
    return _delete(session, get_file(session, tenant_id, file_id))


def delete_expired(session: Session, file: File) -> list[str]:
    """Delete a file whose time is over; storage keys as `delete_file` returns them."""
    return _delete(session, file)


def _delete(session: Session, wanted: File) -> list[str]:
    tenant_id, file_id, key = wanted.tenant_id, wanted.id, wanted.storage_key
    # All that share the bytes are locked, so that of two deletions at once one is the last.
    living = session.scalars(
        select(File)
        .where(File.tenant_id == tenant_id, File.storage_key == key, File.deleted_at.is_(None))
        .order_by(File.seq)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    file = next((file for file in living if file.id == file_id), None)
    if file is None:  # deleted meanwhile
        raise NotFound(f"No such File object: {file_id}", param="id", code="not_found")
    file.deleted_at = time.time()
    session.flush()
    report = None if file.examples_key is None else data_reports.report_key(tenant_id, file_id)
    # What jobs held out of it are copies of its examples.
    copies = session.scalars(select(Job.held_out_key).where(Job.training_file == file_id)).all()
    keys = [report, *copies]
    if len(living) == 1:
        keys = [file.storage_key, file.examples_key, *keys]
    return [key for key in keys if key is not None]
