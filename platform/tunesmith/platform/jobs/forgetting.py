"""Forgetting what jobs reported step by step, long after their end.

A step's event takes some 900 bytes with its indexes, and a job has hundreds: of all that a
database keeps they grow fastest (docs/scale.md). A succeeded job's result file keeps their figures;
checkpoints and all other events stay.
"""

from __future__ import annotations

import time
from typing import Any, cast

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Job, JobEvent

DAY = 24 * 3600.0
JOBS_AT_ONCE = 100
"""Of a transaction: it holds its rows' locks, and SQLite's only writer, for well under a second."""


def forget_steps(
    session: Session, *, days: float, looked_back_days: float | None = None
) -> tuple[int, bool]:
    """Delete the steps' events of at most `JOBS_AT_ONCE` jobs that ended `days` ago or earlier.

    Args:
        looked_back_days: only of jobs that ended at most so many days before that, where others
            are known to be done; all where None.

    Returns:
        How many events were deleted, and whether other jobs may be left.
    """
    newest = time.time() - days * DAY
    ended = [Job.finished_at < newest]
    if looked_back_days is not None:
        ended.append(Job.finished_at >= newest - looked_back_days * DAY)
    of_steps = JobEvent.step.is_not(None)
    has_steps = exists().where(JobEvent.job_id == Job.id, of_steps)
    # Gateways that do the same take other jobs.
    found = select(Job.id).where(*ended, has_steps).limit(JOBS_AT_ONCE)
    jobs = list(session.scalars(found.with_for_update(skip_locked=True)))
    if not jobs:
        return 0, False
    result = session.execute(delete(JobEvent).where(JobEvent.job_id.in_(jobs), of_steps))
    return int(cast("Any", result).rowcount), len(jobs) == JOBS_AT_ONCE
