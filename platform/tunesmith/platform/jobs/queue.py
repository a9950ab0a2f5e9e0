"""The queue: jobs are claimed under a lease, fair between tenants.

A lease is a token and a time. Its holder renews it; when it runs out, the job is taken up again
by whoever asks next, and the former holder's reports are refused (`LeaseLost`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Job, Tenant
from tunesmith.platform.domain.errors import LeaseLost
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.domain.job import CLAIMABLE, EventLevel, JobStatus
from tunesmith.platform.limits.schema import Limits
from tunesmith.platform.quotas import NO_LIMITS, may_train, own_or

from .moves import add_event, locked_job, move
from .turns import no_turn, tenants_in_turn


@dataclass(frozen=True)
class Lease:
    """The right to work on a job until `expires_at` (database's clock), proven by `token`."""

    job_id: str
    token: str
    expires_at: float


def claim(
    session: Session,
    owner: str,
    seconds: float,
    *,
    status: JobStatus,
    bases: Collection[str] | None = None,
    max_attempts: int | None = None,
    limits: Limits = NO_LIMITS,
) -> Lease | None:
    """Take the next job in `status` (`validating_files` or `queued`), or None when there is none.

    Next is, among the tenants that have one waiting, the tenant with the fewest jobs being worked
    on, then the one served longest ago; within a tenant, first come first served. `bases` keeps
    to jobs of these bases. The job's status is not changed: `queue.begin` does that. Of a tenant
    that has as many jobs in training as it may have (`running_jobs`), no queued one is next.

    One transaction claims one job: with two it may wait for another that waits for it.

    Args:
        max_attempts: how often a job's files may take their reader's life (out of memory) before
            the job fails; None for no limit.
        limits: of tenants that have none of their own.
    """
    if status not in CLAIMABLE:
        raise ValueError(f"a job that is {status} is not waiting for a dispatcher")
    moment = now(session)
    # The condition on the lease and the order are such that only `jobs_by_status` fits them: by
    # `seq`, the planners walk through all jobs of all tenants in the hope of meeting one soon.
    waiting: list[ColumnElement[bool]] = [
        Job.status == status,
        func.coalesce(Job.lease_expires_at, 0.0) <= moment,
    ]
    if bases is not None:
        waiting.append(Job.base_name.in_(bases))
    for tenant_id, served_at, own in tenants_in_turn(session, status, moment, waiting):
        most = own_or(limits, own).running_jobs if status == JobStatus.QUEUED else None
        if most is not None and not may_train(session, tenant_id, most):
            continue
        first = (
            select(Job)
            .where(Job.tenant_id == tenant_id, *waiting)
            .order_by(Job.created_at, Job.seq)
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        job = session.scalars(first).one_or_none()
        while job is not None and _is_deadly(job, max_attempts):
            _give_up(session, job, "Its files could not be read: their reader was lost")
            job = session.scalars(first).one_or_none()
        if job is None:  # others are claiming this tenant's last ones just now
            continue
        if status == JobStatus.VALIDATING_FILES:
            job.attempts += 1
        job.lease_token = random_text()
        job.lease_owner = owner
        job.lease_expires_at = moment + seconds
        session.execute(update(Tenant).where(Tenant.id == tenant_id).values(last_claimed_at=moment))
        session.flush()
        no_turn(session, status, before=served_at)
        return Lease(job.id, job.lease_token, job.lease_expires_at)
    return None


def _is_deadly(job: Job, max_attempts: int | None) -> bool:
    reading = job.status == JobStatus.VALIDATING_FILES
    return reading and max_attempts is not None and job.attempts >= max_attempts


def begin(session: Session, lease: Lease, message: str) -> Job:
    """Move the claimed job to `running`; its attempt is counted.

    Raises:
        LeaseLost: the job is not this holder's any more.
        InvalidRequest: it was paused since it was claimed; `release` the lease.
    """
    job = leased_job(session, lease)
    move(session, job, JobStatus.RUNNING, message)
    job.attempts += 1
    job.started_at = job.started_at or now(session)
    return job


def leased_job(session: Session, lease: Lease) -> Job:
    """The job under this lease, its row locked.

    Raises:
        LeaseLost: the job was taken over, cancelled or deleted.
    """
    job = locked_job(session, lease.job_id)
    if job is None or job.lease_token != lease.token:
        raise LeaseLost(f"Job {lease.job_id} is not held under this lease any more.")
    return job


def renew(session: Session, leases: Collection[Lease], seconds: float) -> set[str]:
    """Prolong these leases; the ids of the jobs that are still held under them."""
    if not leases:
        return set()
    held = [(lease.job_id, lease.token) for lease in leases]
    renewed = session.scalars(
        update(Job)
        .where(tuple_(Job.id, Job.lease_token).in_(held))
        .values(lease_expires_at=now(session) + seconds)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return set(renewed)


def expire_leases(session: Session) -> None:
    """End the leases of all jobs: whoever held them is known to act no longer."""
    moment = now(session)
    session.execute(
        update(Job).where(Job.lease_expires_at > moment).values(lease_expires_at=moment)
    )


def release(session: Session, lease: Lease) -> None:
    """Give the lease back; the job's status stays as it is. Nothing happens if it is lost."""
    try:
        job = leased_job(session, lease)
    except LeaseLost:
        return
    if job.status == JobStatus.VALIDATING_FILES:  # its reader lives
        job.attempts = 0
    job.lease_token = job.lease_owner = job.lease_expires_at = None
    session.flush()


def requeue(session: Session, lease: Lease, reason: str, *, max_attempts: int | None) -> None:
    """Put a running job back, as its worker is lost, and give up the lease.

    A job that was begun `max_attempts` times without getting further (`progress.record_state`)
    fails instead. None is for a worker that stops on purpose: such an attempt does not count.

    A job that was paused meanwhile stays so, and one that was resumed is in the queue already.

    Raises:
        LeaseLost: the job is not this holder's any more.
    """
    job = leased_job(session, lease)
    _requeue(session, job, reason, max_attempts)


def requeue_abandoned(session: Session, *, max_attempts: int) -> list[str]:
    """Put back every running job whose lease ran out; their ids."""
    moment = now(session)
    jobs = session.scalars(
        select(Job)
        .where(
            Job.status == JobStatus.RUNNING,
            or_(Job.lease_expires_at.is_(None), Job.lease_expires_at <= moment),
        )
        .order_by(Job.tenant_id, Job.seq)  # a move locks the tenant: everywhere in one order
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    for job in jobs:
        _requeue(session, job, "Its dispatcher gave no sign of life", max_attempts)
    return [job.id for job in jobs]


def _requeue(session: Session, job: Job, reason: str, max_attempts: int | None) -> None:
    job.estimated_finish = None
    if job.status != JobStatus.RUNNING:  # paused meanwhile: there is nothing to take up
        job.lease_token = job.lease_owner = job.lease_expires_at = None
        return
    if max_attempts is None:
        job.attempts = max(0, job.attempts - 1)
    elif job.attempts >= max_attempts:
        _give_up(session, job, reason)
        return
    job.lease_token = job.lease_owner = job.lease_expires_at = None
    where = f"step {job.resume_step}" if job.resume_key else "the beginning"
    move(
        session,
        job,
        JobStatus.QUEUED,
        f"{reason}: the job goes on from {where}.",
        level=EventLevel.WARN,
    )


def _give_up(session: Session, job: Job, reason: str) -> None:
    message = f"{reason}; given up after {job.attempts} attempts."
    job.error = {"code": "worker_lost", "message": message, "param": None}
    move(session, job, JobStatus.FAILED, message, level=EventLevel.ERROR)


def note(session: Session, lease: Lease, message: str, level: EventLevel = EventLevel.INFO) -> None:
    """Write an event of a job under its lease.

    Raises:
        LeaseLost: the job is not this holder's any more.
    """
    leased_job(session, lease)
    add_event(session, lease.job_id, message, level=level)
