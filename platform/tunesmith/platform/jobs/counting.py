"""How many jobs there are by status, without counting all of them every time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.job import FINAL, UNFINISHED

SETTLED_SECONDS = 600.0
"""Jobs that ended so long ago are counted once: their number changes no more. It is longer than
any transaction, and than clocks of machines differ."""


class EndedJobs:
    """Counts jobs that ended by columns of theirs. To be used from several threads.

    Jobs are counted up to a moment and the rest after it, by their time of end; all of them are
    looked at the first time only.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *columns: ColumnElement[Any] | InstrumentedAttribute[Any],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ended = (
            select(*columns, func.count())
            .where(Job.status.in_(sorted(FINAL)), Job.finished_at.is_not(None))
            .group_by(*columns)
        )
        self._clock = clock
        self._lock = Lock()
        self._settled = Counter[tuple[str, ...]]()
        self._until = float("-inf")

    def count(self, session: Session) -> Counter[tuple[str, ...]]:
        """Jobs by the columns' values."""
        ended = self._ended
        with self._lock:
            until = self._clock() - SETTLED_SECONDS
            if until > self._until:
                newly = ended.where(Job.finished_at <= until, Job.finished_at > self._until)
                if self._until == float("-inf"):
                    newly = ended.where(Job.finished_at <= until)
                self._settled.update(_counted(session, newly))
                self._until = until
            counts = Counter(self._settled)
            late = ended.where(Job.finished_at > self._until)
        counts.update(_counted(session, late))
        return counts


class JobCounts:
    """Counts jobs by status. To be used from several threads.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._ended = EndedJobs(Job.status, clock=clock)

    def count(self, session: Session) -> Counter[str]:
        """Jobs by status."""
        counts = Counter({status: n for (status,), n in self._ended.count(session).items()})
        unfinished = (
            select(Job.status, func.count())
            .where(Job.status.in_(sorted(UNFINISHED)))
            .group_by(Job.status)
        )
        counts.update({status: n for (status,), n in _counted(session, unfinished).items()})
        return counts


def _counted(session: Session, query: Select[*tuple[Any, ...]]) -> dict[tuple[str, ...], int]:
    return {tuple(row[:-1]): row[-1] for row in session.execute(query)}
