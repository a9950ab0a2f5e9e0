"""Writes of usage that happen once, whatever becomes of their answers.

A batch has an id, which is written in the same transaction as its counts. Whoever does not know
whether the write was done repeats it under the same id: the row of the id is there, or it is not.
While another transaction holds the id, the insert waits for its end, so that a commit that is
still on its way is not overtaken.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Table, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import UsageBatch

from .counts import Counts, UsageKey, add_usage

KEPT_SECONDS = 3 * 24 * 3600.0
"""How long ids are kept: a batch whose fate was unknown for longer would be added again."""


_VOID = "-void"


def add_batch(session: Session, batch_id: str, used: Mapping[UsageKey, Counts]) -> bool:
    """Add a batch's counts, unless that was done before.

    Returns:
        Whether they are added, now or before; False where the batch was made void.
    """
    if not _take_id(session, batch_id):
        return not _is_void(session, batch_id)
    add_usage(session, used)
    return True


def void_batch(session: Session, batch_id: str) -> bool:
    """Make sure that a batch is never added under this id.

    For a batch that the database refuses: only then may its counts be added under other ids.

    Returns:
        Whether it is void, now or before; False where it was added before.
    """
    if not _take_id(session, batch_id):
        return _is_void(session, batch_id)
    return _take_id(session, batch_id + _VOID)


def forget_batches(session: Session) -> int:
    """Delete the ids that are older than `KEPT_SECONDS`; how many."""
    oldest = time.time() - KEPT_SECONDS
    result = session.execute(delete(UsageBatch).where(UsageBatch.written_at < oldest))
    return int(cast("Any", result).rowcount)


def _is_void(session: Session, batch_id: str) -> bool:
    return session.get(UsageBatch, batch_id + _VOID) is not None


def _take_id(session: Session, batch_id: str) -> bool:
    insert: Any = (
        postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    )
    statement = (
        insert(cast("Table", UsageBatch.__table__))
        .values(id=batch_id, written_at=time.time())
        .on_conflict_do_nothing()
        .returning(UsageBatch.id)
    )
    return session.connection().execute(statement).first() is not None
