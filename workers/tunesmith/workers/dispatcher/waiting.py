"""Which jobs wait, and for what: asked ten times a second, so asked cheaply."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, select, tuple_
from sqlalchemy.orm import Session

from tunesmith.platform import bases
from tunesmith.platform.database.models import BaseModel, Job, JobEvent
from tunesmith.platform.domain.job import CLAIMABLE, JobStatus
from tunesmith.platform.jobs.moves import add_event

_SHARE = 20
_TOLD_AT_ONCE = 200


class Pace:
    """Spaces out what costs more the more jobs there are: it gets a twentieth of the time."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = float("-inf")

    @property
    def due(self) -> bool:
        """Whether it may be done again."""
        return self._clock() >= self._next

    def took(self, seconds: float) -> None:
        """It was done, and took so long."""
        self._next = self._clock() + seconds * _SHARE


@dataclass(frozen=True)
class Waiting:
    """What waits for the dispatcher.

    Attributes:
        unread: whether a job's files are to be read.
        queued: names of the bases that queued jobs are for.
        bases: of all jobs that wait.
    """

    unread: bool = False
    queued: frozenset[str] = frozenset()
    bases: tuple[BaseModel, ...] = ()


class Lookout:
    """Sees which jobs wait.

    Whether there are any is asked each time: two looks into an index. For which bases takes a walk
    through all of them, so that is asked at a pace that its length decides: of a few jobs each
    time, of a million every few seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pace = Pace(clock=clock)
        self._seen: frozenset[tuple[str, str]] = frozenset()

    def look(self, session: Session) -> Waiting:
        """What waits now."""
        unread, queued = session.execute(
            select(
                exists().where(Job.status == JobStatus.VALIDATING_FILES),
                exists().where(Job.status == JobStatus.QUEUED),
            )
        ).one()
        if not (unread or queued):
            self._seen = frozenset()
            return Waiting()
        if self._pace.due or not self._seen:
            began = self._clock()
            rows = session.execute(
                select(Job.status, Job.base_name).where(Job.status.in_(CLAIMABLE)).distinct()
            )
            self._seen = frozenset((row.status, row.base_name) for row in rows)
            self._pace.took(self._clock() - began)
        there = {JobStatus.VALIDATING_FILES: unread, JobStatus.QUEUED: queued}
        seen = {(status, name) for status, name in self._seen if there[JobStatus(status)]}
        names = sorted({name for _, name in seen})
        found = (bases.find_base(session, name) for name in names)
        return Waiting(
            unread=bool(unread),
            queued=frozenset(name for status, name in seen if status == JobStatus.QUEUED),
            bases=tuple(base for base in found if base is not None),
        )


Place = tuple[str, float, int]
"""Of a job among those of its status, in the order of the index by status."""


def tell(
    session: Session,
    message: str,
    status: JobStatus,
    *conditions: ColumnElement[bool],
    after: Place | None,
) -> Place | None:
    """Write an event to the next jobs that it applies to and that have not been told so before.

    Args:
        conditions: on `Job`, beside its status.
        after: what the last call returned, None at first: all are told, some at a time.

    Returns:
        The last job that was looked at; None where there were no more.
    """
    order = Job.tenant_id, Job.created_at, Job.seq
    query = select(Job.id, *order).where(Job.status == status, *conditions)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    jobs = session.execute(query.order_by(*order).limit(_TOLD_AT_ONCE)).all()
    if not jobs:
        return None
    told = select(JobEvent.job_id).where(
        JobEvent.job_id.in_([job.id for job in jobs]), JobEvent.message == message
    )
    before = set(session.scalars(told))
    for job in jobs:
        if job.id not in before:
            add_event(session, job.id, message)
    return jobs[-1].tenant_id, jobs[-1].created_at, jobs[-1].seq
