"""Batches under a lease: one gateway works on one, another takes it up when that is lost.

A batch with an end of a lease has something left to do: its requests, or, when it has ended, the
removal of what it left in storage. Without one it is done with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import ApiKey, Batch, File, Tenant
from tunesmith.platform.domain.errors import LeaseLost
from tunesmith.platform.domain.ids import random_text


@dataclass(frozen=True)
class Lease:
    """The right to work on a batch, proven by `token`."""

    batch_id: str
    token: str


@dataclass(frozen=True)
class Reason:
    """Why a batch may not go on, as its `errors` say it."""

    code: str
    message: str


def any_free(session: Session) -> bool:
    """Whether there is a batch that nobody works on."""
    free = exists().where(Batch.lease_expires_at <= now(session))
    return bool(session.scalar(select(free)))


def claim(session: Session, seconds: float) -> tuple[Lease, Batch] | None:
    """Take a batch that nobody works on; None when there is none.

    First one of a tenant of whose batches none is worked on, so that many batches of one are not
    in the way of another's; of those the oldest.
    """
    moment = now(session)
    other = aliased(Batch)
    has_one = exists().where(
        other.tenant_id == Batch.tenant_id,
        other.lease_expires_at > moment,
        other.seq != Batch.seq,
    )
    batch = session.scalars(
        select(Batch)
        .where(Batch.lease_expires_at <= moment)
        .order_by(has_one, Batch.seq)
        .limit(1)
        .with_for_update(skip_locked=True, of=Batch)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if batch is None:
        return None
    batch.lease_token = random_text()
    batch.lease_expires_at = moment + seconds
    session.flush()
    return Lease(batch.id, batch.lease_token), batch


def held(session: Session, lease: Lease) -> Batch:
    """The batch under this lease, locked.

    Raises:
        LeaseLost: it is somebody else's by now.
    """
    batch = session.scalars(
        select(Batch)
        .where(Batch.id == lease.batch_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if batch is None or batch.lease_token != lease.token:
        raise LeaseLost(f"The batch {lease.batch_id} is not held under this lease.")
    return batch


def renew(session: Session, lease: Lease, seconds: float, *, completed: int, failed: int) -> str:
    """Prolong a lease and write down how far the batch is; its status.

    Raises:
        LeaseLost: it is somebody else's by now.
    """
    status = session.execute(
        update(Batch)
        .where(Batch.id == lease.batch_id, Batch.lease_token == lease.token)
        .values(lease_expires_at=now(session) + seconds, completed=completed, failed=failed)
        .returning(Batch.status)
    ).scalar_one_or_none()
    if status is None:
        raise LeaseLost(f"The batch {lease.batch_id} is not held under this lease.")
    return str(status)


def give_back(session: Session, lease: Lease, *, after: float = 0.0) -> None:
    """Let another take it up, in `after` seconds; nothing happens if the lease is lost."""
    session.execute(
        update(Batch)
        .where(Batch.id == lease.batch_id, Batch.lease_token == lease.token)
        .values(lease_token=None, lease_expires_at=now(session) + after)
    )


def let_go(session: Session, lease: Lease) -> None:
    """Nothing is left to do for the batch; nothing happens if the lease is lost."""
    session.execute(
        update(Batch)
        .where(Batch.id == lease.batch_id, Batch.lease_token == lease.token)
        .values(lease_token=None, lease_expires_at=None)
    )


def why_not(session: Session, batch_id: str) -> Reason | None:
    """Why the batch may not go on: its file, its tenant or its key; None where it may.

    A key that is not in the database is the subject of a bearer token, which nobody revokes here.
    """
    moment = now(session)
    file_gone = or_(File.deleted_at.is_not(None), File.expires_at <= moment)
    key_ended = or_(ApiKey.revoked_at.is_not(None), ApiKey.expires_at <= moment)
    row: Any = session.execute(  # of joins that may find nothing
        select(File.id, ApiKey.id, Tenant.suspended_at)
        .select_from(Batch)
        .join(Tenant, Tenant.id == Batch.tenant_id)
        .outerjoin(File, and_(File.id == Batch.input_file, file_gone))
        .outerjoin(ApiKey, and_(ApiKey.id == Batch.key_id, key_ended))
        .where(Batch.id == batch_id)
    ).one()
    file_id, key_id, suspended_at = row
    if suspended_at is not None:
        return Reason("tenant_suspended", "The tenant was suspended.")
    if key_id is not None:
        return Reason(
            "key_revoked",
            f"The key {key_id} that created the batch was revoked, or has expired. Create the"
            " batch again with another.",
        )
    if file_id is not None:
        return Reason(
            "input_file_deleted",
            f"The input file {file_id} was deleted, or has expired, before the batch had ended.",
        )
    return None
