"""Jobs, events and checkpoints as their tenant sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Checkpoint, Job, JobEvent
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain.errors import NotFound

_Row = TypeVar("_Row", JobEvent, Checkpoint)


def get_job(session: Session, tenant_id: str, job_id: str) -> Job:
    """A tenant's job.

    Raises:
        NotFound: it does not exist, or is another tenant's.
    """
    job = session.scalars(
        select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id)
    ).one_or_none()
    if job is None:
        raise NotFound(
            f"No fine-tuning job {job_id!r} exists.", param="fine_tuning_job_id", code="not_found"
        )
    return job


def list_jobs(
    session: Session,
    tenant_id: str,
    *,
    after: str | None = None,
    limit: int = 20,
    metadata: Mapping[str, str] | None = None,
    without_metadata: bool = False,
) -> Page[Job]:
    """A tenant's jobs, newest first; only those with these metadata, or with none.

    Raises:
        NotFound: `after` names no job of this tenant.
    """
    query = select(Job).where(Job.tenant_id == tenant_id)
    for key, value in (metadata or {}).items():
        query = query.where(_has_metadata(session, key, value))
    if without_metadata:
        query = query.where(Job.user_metadata.is_(None))
    after_seq = get_job(session, tenant_id, after).seq if after else None
    return page(session, query, Job.seq, after_seq=after_seq, limit=limit)


def _has_metadata(session: Session, key: str, value: str) -> ColumnElement[bool]:
    if session.get_bind().dialect.name == "postgresql":
        held: ColumnElement[bool] = Job.user_metadata[key].as_string() == value
        return held
    # SQLite's JSON paths have no way to write a key that holds a quote.
    pairs = func.json_each(Job.user_metadata).table_valued("key", "value")
    return exists().select_from(pairs).where(pairs.c.key == key, pairs.c.value == value)


def list_events(
    session: Session, tenant_id: str, job_id: str, *, after: str | None = None, limit: int = 20
) -> Page[JobEvent]:
    """A job's events, newest first.

    Raises:
        NotFound: no such job of this tenant, or `after` names no event of it.
    """
    get_job(session, tenant_id, job_id)
    return _page_of_job(session, JobEvent, "event", job_id, after=after, limit=limit)


def list_checkpoints(
    session: Session, tenant_id: str, job_id: str, *, after: str | None = None, limit: int = 10
) -> Page[Checkpoint]:
    """A job's checkpoints that can be used as models, newest first.

    Raises:
        NotFound: no such job of this tenant, or `after` names no checkpoint of it.
    """
    get_job(session, tenant_id, job_id)
    return _page_of_job(session, Checkpoint, "checkpoint", job_id, after=after, limit=limit)


def _page_of_job(
    session: Session, table: type[_Row], word: str, job_id: str, *, after: str | None, limit: int
) -> Page[_Row]:
    after_seq = None
    if after:
        after_seq = session.scalars(
            select(table.seq).where(table.id == after, table.job_id == job_id)
        ).one_or_none()
        if after_seq is None:
            raise NotFound(f"Job {job_id!r} has no {word} {after!r}.", param="after")
    query = select(table).where(table.job_id == job_id)
    return page(session, query, table.seq, after_seq=after_seq, limit=limit)
