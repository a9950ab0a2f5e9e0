"""What a tenant may have at once: jobs, bytes in storage, tuned models.

A limit is the tenant's own, else the setting's of that name; None is no limit. What is counted
and then added is so under a lock of the tenant, held until the transaction ends: two requests at
once cannot both be the last that fits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.locks import lock_name, try_lock_name
from tunesmith.platform.database.models import Adapter, File, Job, Model, Tenant, Upload, UploadPart
from tunesmith.platform.domain.errors import LimitReached
from tunesmith.platform.domain.job import CLAIMABLE, UNFINISHED, JobStatus
from tunesmith.platform.limits.schema import Limits
from tunesmith.platform.settings import Settings

NO_LIMITS = Limits.model_validate({})

_TRAINING = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED)
"""Statuses of jobs that train while they are under a lease: claimed, begun, or just stopping."""


@dataclass(frozen=True)
class Used:
    """What a tenant has of each thing that is limited."""

    queued_jobs: int
    running_jobs: int
    stored_bytes: int
    adapters: int


@dataclass(frozen=True)
class Room:
    """A tenant's limit of bytes in storage, and how many it had when that was looked up."""

    limit: int
    stored: int

    def check(self, more: int) -> None:
        """Refuse `more` bytes that do not fit.

        Raises:
            LimitReached: with them the tenant would have more than its limit.
        """
        if self.stored + more > self.limit:
            raise LimitReached(
                f"Your organization may store {self.limit:,} bytes (`stored_bytes`) and has"
                f" {self.stored:,}: there is no room for this file. Delete files or models that"
                " you need no more, or ask the administrator for a higher limit.",
                param="file",
                code="storage_limit_exceeded",
            )


def default_limits(settings: Settings) -> Limits:
    """The limits of tenants that have none of their own."""
    return Limits.model_validate({name: getattr(settings, name) for name in Limits.model_fields})


def own_or(defaults: Limits, own: dict[str, object] | None) -> Limits:
    """A tenant's limits (column `limits`), and the defaults where it has none."""
    if not own:
        return defaults
    given = Limits.model_validate(own).model_dump(exclude_none=True)
    return defaults.model_copy(update=given)


def limits_of(session: Session, tenant_id: str, defaults: Limits) -> Limits:
    """The limits that hold for a tenant."""
    return own_or(defaults, session.scalar(select(Tenant.limits).where(Tenant.id == tenant_id)))


def used_by(session: Session, tenant_id: str) -> Used:
    """What a tenant has now."""
    return Used(
        queued_jobs=_queued_jobs(session, tenant_id),
        running_jobs=running_jobs(session, tenant_id),
        stored_bytes=stored_bytes(session, tenant_id),
        adapters=_adapters(session, tenant_id),
    )


def check_new_job(session: Session, tenant_id: str, defaults: Limits) -> None:
    """Refuse a job that would be one too many; until the transaction ends no other is counted.

    Raises:
        LimitReached: too many jobs wait, or too many tuned models are there or being made.
    """
    limits = limits_of(session, tenant_id, defaults)
    if limits.queued_jobs is None and limits.adapters is None:
        return
    _lock(session, tenant_id)
    if limits.queued_jobs is not None:
        waiting = _queued_jobs(session, tenant_id)
        if waiting >= limits.queued_jobs:
            raise LimitReached(
                f"Your organization may have {limits.queued_jobs:,} jobs waiting (`queued_jobs`)"
                f" and has {waiting:,}. Wait until one has started, cancel one, or ask the"
                " administrator for a higher limit.",
                code="job_limit_exceeded",
            )
    if limits.adapters is not None:
        there = _adapters(session, tenant_id)
        if there >= limits.adapters:
            raise LimitReached(
                f"Your organization may have {limits.adapters:,} tuned models (`adapters`) and has"
                f" {there:,}, those that unfinished jobs make included. Delete one, cancel a job,"
                " or ask the administrator for a higher limit.",
                code="job_limit_exceeded",
            )


def room(session: Session, tenant_id: str, defaults: Limits) -> Room | None:
    """How much a tenant may still store, as it is now; None where there is no limit."""
    limit = limits_of(session, tenant_id, defaults).stored_bytes
    return None if limit is None else Room(limit, stored_bytes(session, tenant_id))


def check_stored(session: Session, tenant_id: str, defaults: Limits) -> None:
    """Refuse what this transaction has added, if it is too much together with all the rest.

    To be called last: rows that a transaction locks are locked before the tenant's lock.

    Raises:
        LimitReached: the tenant has more than its limit; the transaction must not be committed.
    """
    limit = limits_of(session, tenant_id, defaults).stored_bytes
    if limit is None:
        return
    _lock(session, tenant_id)
    Room(limit, stored_bytes(session, tenant_id)).check(0)


def stored_bytes(session: Session, tenant_id: str) -> int:
    """A tenant's bytes in storage: files, parts of uploads, and adapters, each adapter once."""
    in_files = select(func.sum(File.bytes)).where(
        File.tenant_id == tenant_id,
        File.deleted_at.is_(None),
        or_(File.expires_at.is_(None), File.expires_at > time.time()),
    )
    in_parts = (
        select(func.sum(UploadPart.bytes))
        .join(Upload, Upload.id == UploadPart.upload_id)
        .where(
            Upload.tenant_id == tenant_id,
            Upload.status == "pending",
            Upload.expires_at > time.time(),
        )
    )
    own = (
        select(Model.adapter_digest)
        .where(Model.tenant_id == tenant_id, Model.deleted_at.is_(None))
        .distinct()
    )
    in_adapters = select(func.sum(Adapter.bytes)).where(Adapter.digest.in_(own))
    return sum(int(session.scalar(query) or 0) for query in (in_files, in_parts, in_adapters))


def running_jobs(session: Session, tenant_id: str) -> int:
    """A tenant's jobs that a dispatcher has taken up to train them."""
    query = select(func.count(Job.seq)).where(
        Job.tenant_id == tenant_id, Job.status.in_(_TRAINING), Job.lease_expires_at > now(session)
    )
    return int(session.scalar(query) or 0)


def may_train(session: Session, tenant_id: str, limit: int) -> bool:
    """Whether another of a tenant's jobs may be taken up; if so, nobody else takes one up now.

    It does not wait for another dispatcher that is taking up a job of the same tenant: two that
    look at several tenants in different orders would wait for each other.
    """
    return (
        running_jobs(session, tenant_id) < limit
        and try_lock_name(session, f"{tenant_id} running jobs")
        and running_jobs(session, tenant_id) < limit
    )


def _queued_jobs(session: Session, tenant_id: str) -> int:
    query = select(func.count(Job.seq)).where(
        Job.tenant_id == tenant_id, Job.status.in_(sorted(CLAIMABLE))
    )
    return int(session.scalar(query) or 0)


def _adapters(session: Session, tenant_id: str) -> int:
    """Jobs that have a model left, or will have one: a model and its checkpoints count once."""
    unfinished = select(func.count(Job.seq)).where(
        Job.tenant_id == tenant_id, Job.status.in_(sorted(UNFINISHED))
    )
    # Counted less the few that have not ended: to look up the job of every model takes longer.
    making = select(Job.id).where(Job.tenant_id == tenant_id, Job.status.in_(sorted(UNFINISHED)))
    made = select(func.count(Model.job_id.distinct())).where(
        Model.tenant_id == tenant_id, Model.deleted_at.is_(None), Model.job_id.not_in(making)
    )
    return int(session.scalar(unfinished) or 0) + int(session.scalar(made) or 0)


def _lock(session: Session, tenant_id: str) -> None:
    lock_name(session, f"{tenant_id} quotas")
