"""Batches as their tenant sees and cancels them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Batch
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain.errors import InvalidRequest, NotFound

from .status import CANCELLED, CANCELLING, NEXT, enter


def get_batch(
    session: Session, tenant_id: str, batch_id: str, *, param: str = "batch_id", lock: bool = False
) -> Batch:
    """A tenant's batch, locked until the transaction ends if asked for.

    Raises:
        NotFound: it does not exist, or is another tenant's.
    """
    query = select(Batch).where(Batch.id == batch_id, Batch.tenant_id == tenant_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound(f"No such Batch object: {batch_id}", param=param)
    return found


def list_batches(
    session: Session, tenant_id: str, *, after: str | None = None, limit: int = 20
) -> Page[Batch]:
    """A tenant's batches, newest first.

    Raises:
        NotFound: `after` names no batch of this tenant.
    """
    after_seq = get_batch(session, tenant_id, after, param="after").seq if after else None
    query = select(Batch).where(Batch.tenant_id == tenant_id)
    return page(session, query, Batch.seq, after_seq=after_seq, limit=limit)


def cancel_batch(session: Session, tenant_id: str, batch_id: str) -> Batch:
    """Ask for a batch's end; its gateway follows within seconds, another one if it is lost.

    Cancelling it again changes nothing.

    Raises:
        NotFound: no such batch of this tenant.
        InvalidRequest: it has ended, or all of its requests are answered.
    """
    batch = get_batch(session, tenant_id, batch_id, lock=True)
    if batch.status in (CANCELLING, CANCELLED):
        return batch
    if CANCELLING not in NEXT.get(batch.status, ()):
        raise InvalidRequest(
            f"The batch {batch.id} is {batch.status} already and cannot be cancelled.",
            code="invalid_batch_state",
        )
    enter(session, batch, CANCELLING)
    return batch
