"""What a client may do to a job: cancel, pause, resume."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.job import FINAL, JobStatus

from .moves import locked_job, move
from .reading import get_job


def cancel(session: Session, tenant_id: str, job_id: str) -> Job:
    """Cancel a job at once; what its worker still reports is refused.

    Raises:
        NotFound: no such job of this tenant.
        InvalidRequest: the job has ended already.
    """
    job = _own(session, tenant_id, job_id)
    if job.status in FINAL:
        raise InvalidRequest(
            f"Job {job.id} is {job.status} already and cannot be cancelled.",
            code="invalid_job_state",
        )
    move(session, job, JobStatus.CANCELLED, "The job was cancelled.")
    return job


def pause(session: Session, tenant_id: str, job_id: str) -> Job:
    """Pause a job. A running one stops at its next step boundary and keeps its state.

    Its worker holds the lease until that state is stored; a resume before then waits for it.

    Raises:
        NotFound: no such job of this tenant.
        InvalidRequest: the job has ended, or is paused already.
    """
    job = _own(session, tenant_id, job_id)
    if job.status == JobStatus.PAUSED or job.status in FINAL:
        raise InvalidRequest(
            f"Job {job.id} is {job.status} and cannot be paused.", code="invalid_job_state"
        )
    job.estimated_finish = None
    move(session, job, JobStatus.PAUSED, "The job was paused.")
    return job


def resume(session: Session, tenant_id: str, job_id: str) -> Job:
    """Put a paused job back into the queue, with all its attempts before it.

    Raises:
        NotFound: no such job of this tenant.
        InvalidRequest: the job is not paused.
    """
    job = _own(session, tenant_id, job_id)
    if job.status != JobStatus.PAUSED:
        raise InvalidRequest(
            f"Job {job.id} is {job.status}; only a paused job can be resumed.",
            code="invalid_job_state",
        )
    to = JobStatus.QUEUED if job.prepared_at else JobStatus.VALIDATING_FILES
    job.attempts = 0
    move(session, job, to, "The job was resumed.")
    return job


def _own(session: Session, tenant_id: str, job_id: str) -> Job:
    get_job(session, tenant_id, job_id)  # another tenant's row is not even locked
    job = locked_job(session, job_id)
    assert job is not None  # jobs are never deleted
    return job
