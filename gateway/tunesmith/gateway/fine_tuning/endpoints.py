"""Routes of fine-tuning jobs."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Header, Request

from tunesmith.gateway.auth import TrainingTenant
from tunesmith.gateway.evaluations.graders import check_grader
from tunesmith.gateway.json_body import JsonRoute
from tunesmith.gateway.pages import After, Limit, ListOf, ListWithEnds
from tunesmith.gateway.resources import Parts
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.jobs import control, creation, reading
from tunesmith.platform.quotas import default_limits
from tunesmith.platform.tracing import current_traceparent

from .schemas import METADATA_FILTER, Checkpoint, CreateJob, Event, Job

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"], route_class=JsonRoute)

_METADATA = re.compile(r"metadata\[(.+)\]")


@router.post("")
def create_job(
    body: CreateJob,
    parts: Parts,
    tenant_id: TrainingTenant,
    idempotency_key: Annotated[
        str | None, Header(description="The same key again finds the job that was created first.")
    ] = None,
    retry_count: Annotated[
        str, Header(alias="x-stainless-retry-count", include_in_schema=False)
    ] = "0",
) -> Job:
    """Create a job; it is refused at once when it cannot succeed."""
    if body.evaluation is not None and body.evaluation.grader is not None:
        check_grader(body.evaluation.grader, parts.settings, "evaluation.grader")
    with parts.database.transaction() as session:
        job = creation.create_job(
            session,
            tenant_id,
            body.to_request(),
            idempotency_key=idempotency_key,
            is_retry=retry_count.strip() not in ("", "0"),
            trackers=parts.settings.trackers,
            limits=default_limits(parts.settings),
            traceparent=current_traceparent.get(),
        )
        return Job.of(job)


@router.get("", openapi_extra=METADATA_FILTER)
def list_jobs(
    request: Request,
    parts: Parts,
    tenant_id: TrainingTenant,
    after: After = None,
    limit: Limit = 20,
) -> ListOf[Job]:
    """The tenant's jobs, newest first."""
    pairs, none = _metadata_filter(request)
    with parts.database.reading() as session:
        page = reading.list_jobs(
            session, tenant_id, after=after, limit=limit, metadata=pairs, without_metadata=none
        )
        return ListOf(data=[Job.of(job) for job in page.items], has_more=page.has_more)


@router.get("/{job_id}")
def get_job(job_id: str, parts: Parts, tenant_id: TrainingTenant) -> Job:
    """One of the tenant's jobs."""
    with parts.database.reading() as session:
        return Job.of(reading.get_job(session, tenant_id, job_id))


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, parts: Parts, tenant_id: TrainingTenant) -> Job:
    """Cancel a job."""
    with parts.database.transaction() as session:
        return Job.of(control.cancel(session, tenant_id, job_id))


@router.post("/{job_id}/pause")
def pause_job(job_id: str, parts: Parts, tenant_id: TrainingTenant) -> Job:
    """Pause a job; a running one stops after its step and keeps its state."""
    with parts.database.transaction() as session:
        return Job.of(control.pause(session, tenant_id, job_id))


@router.post("/{job_id}/resume")
def resume_job(job_id: str, parts: Parts, tenant_id: TrainingTenant) -> Job:
    """Put a paused job back into the queue."""
    with parts.database.transaction() as session:
        return Job.of(control.resume(session, tenant_id, job_id))


@router.get("/{job_id}/events")
def list_events(
    job_id: str, parts: Parts, tenant_id: TrainingTenant, after: After = None, limit: Limit = 20
) -> ListOf[Event]:
    """What happened to a job, newest first."""
    with parts.database.reading() as session:
        page = reading.list_events(session, tenant_id, job_id, after=after, limit=limit)
        return ListOf(data=[Event.of(event) for event in page.items], has_more=page.has_more)


@router.get("/{job_id}/checkpoints")
def list_checkpoints(
    job_id: str, parts: Parts, tenant_id: TrainingTenant, after: After = None, limit: Limit = 10
) -> ListWithEnds[Checkpoint]:
    """A job's checkpoints, newest first."""
    with parts.database.reading() as session:
        page = reading.list_checkpoints(session, tenant_id, job_id, after=after, limit=limit)
        data = [Checkpoint.of(checkpoint) for checkpoint in page.items]
    return ListWithEnds(
        data=data,
        has_more=page.has_more,
    )


def _metadata_filter(request: Request) -> tuple[dict[str, str], bool]:
    """The pairs to look for, and whether to look for jobs without any."""
    pairs: dict[str, str] = {}
    none = False
    for name, value in request.query_params.multi_items():
        found = _METADATA.fullmatch(name)
        if found:
            pairs[found[1]] = value
        elif name == "metadata" or name.startswith("metadata["):
            if name != "metadata" or value != "null":
                raise InvalidRequest(
                    "Filter by `metadata[key]=value`, or by `metadata=null`.", param="metadata"
                )
            none = True
    if pairs and none:
        raise InvalidRequest(
            "`metadata=null` and `metadata[key]=value` exclude each other.", param="metadata"
        )
    return pairs, none
