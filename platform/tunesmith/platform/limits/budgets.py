"""Budgets in the database: one row each, changed under its lock, by the database's clock."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Budget

from .bucket import Bucket, Grant, Wish, grant

FULL_AFTER_SECONDS = 86_400.0
"""A row that nobody touched for so long is full, whatever it was: it need not be kept."""


def take(session: Session, name: str, limit: float, wish: Wish) -> Grant:
    """Ask the budget `name` of `limit` a minute; it begins full at the first call."""
    row = select(Budget.level, Budget.updated_at).where(Budget.name == name).with_for_update()
    found = session.execute(row).one_or_none()
    if found is None:
        _begin(session, name, limit)
        found = session.execute(row).one()
    # The clock is read after the lock: before it, another's write could be later than our time.
    granted, after = grant(Bucket(*found), now(session), limit, wish)
    session.execute(
        update(Budget)
        .where(Budget.name == name)
        .values(level=after.level, updated_at=after.updated_at)
    )
    return granted


def _begin(session: Session, name: str, limit: float) -> None:
    """Add the row, full, unless another gateway has just done so."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(
        insert(Budget)
        .values(name=name, level=limit, updated_at=now(session))
        .on_conflict_do_nothing(index_elements=["name"])
    )


def forget_full(session: Session) -> None:
    """Delete the rows that are surely full."""
    session.execute(delete(Budget).where(Budget.updated_at < now(session) - FULL_AFTER_SECONDS))
