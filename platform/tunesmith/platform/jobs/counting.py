"""How many jobs there are by status, without counting all of them every time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.job import FINAL, UNFINISHED

SETTLED_SECONDS = 600.0
"""Jobs that ended so long ago are counted once: their number changes no more. It is longer than
any transaction, and than clocks of machines differ."""


class JobCounts:
    """Counts jobs by status. To be used from several threads.

    Jobs that ended are counted up to a moment and the rest after it, by their time of end; all of
    them are looked at the first time only.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._settled = Counter[str]()
        self._until = float("-inf")

    def count(self, session: Session) -> Counter[str]:
        """Jobs by status."""
        by_status = select(Job.status, func.count()).group_by(Job.status)
        ended = by_status.where(Job.status.in_(sorted(FINAL)), Job.finished_at.is_not(None))
        with self._lock:
            until = self._clock() - SETTLED_SECONDS
            if until > self._until:
                newly = ended.where(Job.finished_at <= until, Job.finished_at > self._until)
                if self._until == float("-inf"):
                    newly = ended.where(Job.finished_at <= until)
                self._settled.update({row[0]: row[1] for row in session.execute(newly)})
                self._until = until
            counts = Counter(self._settled)
            late = ended.where(Job.finished_at > self._until)
        counts.update({row[0]: row[1] for row in session.execute(late)})
        unfinished = by_status.where(Job.status.in_(sorted(UNFINISHED)))
        counts.update({row[0]: row[1] for row in session.execute(unfinished)})
        return counts
