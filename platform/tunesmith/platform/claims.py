"""Work that evaluators claim: a row under a lease, taken up again when its holder is lost.

The rows are `DataReport` and `Evaluation`. A result is written only under the lease's token.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import DataReport, Evaluation
from tunesmith.platform.domain.errors import LeaseLost
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.webhooks.events import EVALUATION_ENDS
from tunesmith.platform.webhooks.outbox import announce

Work = TypeVar("Work", bound=DataReport | Evaluation)

QUEUED, IN_PROGRESS = "queued", "in_progress"
COMPLETED, INCOMPLETE, FAILED, CANCELED = "completed", "incomplete", "failed", "canceled"
ENDED = frozenset({COMPLETED, INCOMPLETE, FAILED, CANCELED})


@dataclass(frozen=True)
class Claim:
    """The right to work on the row `seq` of a table, proven by `token`."""

    seq: int
    token: str


def claim(
    session: Session, table: type[Work], seconds: float, *, max_attempts: int
) -> tuple[Claim, Work] | None:
    """Take a row whose holder is lost, else the one that waits longest; None when there is none.

    A row that was taken up `max_attempts` times without an end fails.
    """
    moment = now(session)
    # Of a row that waits, the lease's end is the time before which it is left alone.
    free = and_(
        table.status.in_((QUEUED, IN_PROGRESS)),
        func.coalesce(table.lease_expires_at, 0.0) <= moment,
    )
    first = (
        select(table)
        .where(free)
        # In the order of the index by status: by `seq` alone, planners walk through all that ended.
        .order_by(table.status, table.seq)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    while True:
        row = session.scalars(first).one_or_none()
        if row is None:
            return None
        if row.attempts < max_attempts:
            break
        message = f"Whoever worked on it was lost {row.attempts} times; it was given up."
        end(session, row, FAILED, {"code": "worker_lost", "message": message})
    row.status = IN_PROGRESS
    row.attempts += 1
    row.started_at = row.started_at or moment
    row.lease_token = random_text()
    row.lease_expires_at = moment + seconds
    session.flush()
    return Claim(row.seq, row.lease_token), row


def renew(
    session: Session, table: type[Work], claims: Collection[Claim], seconds: float
) -> set[Claim]:
    """Prolong these claims; those that still hold."""
    if not claims:
        return set()
    moment = now(session)
    return {
        held
        for held in claims
        if session.execute(
            update(table)
            .where(table.seq == held.seq, table.lease_token == held.token)
            .values(lease_expires_at=moment + seconds)
            .returning(table.seq)
        ).first()
    }


def held(session: Session, table: type[Work], claimed: Claim) -> Work:
    """The row under this claim, locked.

    Raises:
        LeaseLost: it was canceled, deleted, or is somebody else's by now.
    """
    row = session.scalars(
        select(table)
        .where(table.seq == claimed.seq)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None or row.lease_token != claimed.token:
        raise LeaseLost(f"{table.__tablename__} {claimed.seq} is not held under this lease.")
    return row


def end(
    session: Session, row: DataReport | Evaluation, status: str, error: dict[str, str] | None = None
) -> None:
    """Write down how the work on a row ended, give up its lease, and have webhooks tell of it."""
    row.status = status
    row.error = error
    row.finished_at = now(session)
    row.lease_token = row.lease_expires_at = None
    session.flush()
    if isinstance(row, Evaluation):
        announce(session, row.tenant_id, EVALUATION_ENDS[status], row.id)


def give_back(session: Session, table: type[Work], claimed: Claim, *, after: float = 0.0) -> None:
    """Put a row back that its holder stops working on; nothing happens if it is lost.

    Args:
        after: seconds for which nobody takes it up, so that what has to wait is not in the way of
            what need not.
    """
    try:
        row = held(session, table, claimed)
    except LeaseLost:
        return
    row.status = QUEUED
    row.attempts = max(0, row.attempts - 1)
    row.lease_token = None
    row.lease_expires_at = now(session) + after if after else None
    session.flush()
