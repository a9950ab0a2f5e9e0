"""Locks on what has no row yet: one transaction at a time does a thing of a given name."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def lock_name(session: Session, name: str) -> None:
    """Wait until no other transaction holds `name`, and hold it until this one ends.

    On SQLite a transaction that may write is alone from its beginning, which is now at the latest.
    """
    if session.get_bind().dialect.name == "sqlite":
        session.connection()
    else:
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def try_lock_name(session: Session, name: str) -> bool:
    """Hold `name` until this transaction ends, unless another one holds it; whether it is held."""
    if session.get_bind().dialect.name == "sqlite":
        session.connection()
        return True
    query = select(func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0)))
    return bool(session.scalar(query))
