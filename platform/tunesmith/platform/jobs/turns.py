"""Whose turn it is: tenants that have a job waiting, found without a look at all the others.

A tenant's flags `has_unread` and `has_queued` are set by the database whenever one of its jobs
comes to wait, by triggers, and taken back by claims that find none. So a flag may be there without
a job, never a job without its flag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Job, Tenant
from tunesmith.platform.domain.job import JobStatus

_FIRST = 16
"""Tenants whose turn is next that a claim asks for at first; it needs others hardly ever."""
_AT_ONCE = 64
"""Most flags that one claim takes back."""

_FLAGS = {JobStatus.VALIDATING_FILES: Tenant.has_unread, JobStatus.QUEUED: Tenant.has_queued}

Turn = tuple[str, float, dict[str, Any] | None]
"""A tenant's id, when it was served last, and its own limits."""


def tenants_in_turn(
    session: Session, status: JobStatus, moment: float, waiting: Sequence[ColumnElement[bool]]
) -> Iterator[Turn]:
    """Tenants with a job in `status` for which all of `waiting` holds, the next one first.

    Those with the fewest jobs under a lease come first, of them the one served longest ago.
    """
    if session.scalar(_first_job(*waiting)) is None:
        return
    in_turn = (
        select(Tenant.id, Tenant.last_claimed_at, Tenant.limits)
        .where(_FLAGS[status], _has_job(*waiting).is_not(None))
        .order_by(Tenant.last_claimed_at, Tenant.seq)
    )
    busy = Counter(session.scalars(select(Job.tenant_id).where(Job.lease_expires_at > moment)))
    idle = in_turn.where(Tenant.id.not_in(busy)) if busy else in_turn
    first = _turns(session, idle.limit(_FIRST))
    yield from first
    if len(first) == _FIRST:  # of none of them a job could be had
        seen = {turn[0] for turn in first}
        yield from (turn for turn in _turns(session, idle) if turn[0] not in seen)
    if busy:
        last = _turns(session, in_turn.where(Tenant.id.in_(busy)))
        yield from sorted(last, key=lambda turn: busy[turn[0]])


def no_turn(session: Session, status: JobStatus, *, before: float) -> None:
    """Take back the flags of tenants that have no job in `status`, of those served earlier.

    Whoever makes a job at this moment holds its tenant's row: that tenant is passed over. The
    look at jobs that counts comes after the rows are locked.
    """
    flag, none = _FLAGS[status], _has_job(Job.status == status).is_(None)
    idle = session.scalars(
        select(Tenant.id)
        .where(flag, Tenant.last_claimed_at < before, none)
        .order_by(Tenant.last_claimed_at, Tenant.seq)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    if idle:
        session.execute(
            update(Tenant)
            .where(Tenant.id.in_(idle), none)
            .values({flag: False})
            .execution_options(synchronize_session=False)
        )


def _has_job(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    # Not EXISTS, which planners turn into a join with the jobs of all tenants.
    query = _first_job(Job.tenant_id == Tenant.id, *conditions)
    return query.correlate(Tenant).scalar_subquery()


def _first_job(*conditions: ColumnElement[bool]) -> Select[int]:
    in_order = Job.tenant_id, Job.created_at, Job.seq
    return select(Job.seq).where(*conditions).order_by(*in_order).limit(1)


def _turns(session: Session, query: Select[Any]) -> list[Turn]:
    return [(tenant_id, at, own) for tenant_id, at, own in session.execute(query)]
