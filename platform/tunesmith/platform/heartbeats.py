"""Signs of life of processes that no request reaches: without one, a queue silently waits."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Heartbeat


def beat(session: Session, name: str) -> None:
    """Write down that the process called `name` is alive."""
    moment = now(session)
    changed = update(Heartbeat).where(Heartbeat.name == name).values(beaten_at=moment)
    if session.scalars(changed.returning(Heartbeat.name)).first() is not None:
        return
    try:
        with session.begin_nested():
            session.add(Heartbeat(name=name, beaten_at=moment))
    except IntegrityError:  # another process of that name was first, a moment ago
        session.execute(changed)


def age(session: Session, name: str) -> float | None:
    """Seconds since the last sign of life of `name`; None when there never was one."""
    beaten_at = session.scalar(select(Heartbeat.beaten_at).where(Heartbeat.name == name))
    return None if beaten_at is None else max(0.0, now(session) - beaten_at)
