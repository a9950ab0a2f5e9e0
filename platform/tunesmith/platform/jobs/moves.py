"""The one function that moves a job from state to state, and the events of a job."""

from __future__ import annotations

import time
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Job, JobEvent
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.job import (
    FINAL,
    TRANSITIONS,
    EventLevel,
    EventType,
    JobStatus,
)
from tunesmith.platform.webhooks.events import JOB_ENDS
from tunesmith.platform.webhooks.outbox import announce

log = structlog.get_logger(__name__)


def move(
    session: Session,
    job: Job,
    to: JobStatus,
    message: str,
    *,
    level: EventLevel = EventLevel.INFO,
    data: dict[str, Any] | None = None,
) -> None:
    """Move `job` to a status and write the event that says so, in the caller's transaction.

    The caller holds the row's lock (`locked_job`). The database refuses an illegal move as well.

    Raises:
        InvalidRequest: nothing leads from the job's status to `to`.
    """
    before = JobStatus(job.status)
    if to not in TRANSITIONS[before]:
        raise InvalidRequest(
            f"Job {job.id} is {before} and cannot become {to}.", code="invalid_job_state"
        )
    job.status = to
    if to in FINAL:
        job.finished_at = time.time()
        job.estimated_finish = None
        job.lease_token = job.lease_owner = job.lease_expires_at = None
    add_event(session, job.id, message, level=level, data=data)
    session.flush()
    if to in JOB_ENDS:
        announce(session, job.tenant_id, JOB_ENDS[to], job.id)
    log.info(
        "job moved",
        job_id=job.id,
        tenant_id=job.tenant_id,
        before=before.value,
        after=to.value,
        why=message,
    )


def add_event(
    session: Session,
    job_id: str,
    message: str,
    *,
    level: EventLevel = EventLevel.INFO,
    type_: EventType = EventType.MESSAGE,
    data: dict[str, Any] | None = None,
) -> JobEvent:
    """Write an event of a job."""
    event = JobEvent(
        id=ids.event_id(),
        job_id=job_id,
        created_at=time.time(),
        level=level,
        type=type_,
        message=message,
        data=data,
    )
    session.add(event)
    return event


def locked_job(session: Session, job_id: str) -> Job | None:
    """The job, its row locked until the transaction ends."""
    return session.scalars(
        select(Job)
        .where(Job.id == job_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
