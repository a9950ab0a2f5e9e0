"""Routes of evaluations."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from tunesmith.gateway.auth import TrainingTenant
from tunesmith.gateway.idempotency import ONCE
from tunesmith.gateway.json_body import JsonRoute
from tunesmith.gateway.pages import After, Limit, ListOf, ListWithEnds
from tunesmith.gateway.resources import Parts
from tunesmith.platform.claims import COMPLETED, INCOMPLETE
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.evaluations import creation, reading
from tunesmith.platform.evaluations.results import report_key
from tunesmith.platform.storage import ObjectNotFound

from .graders import check_grader
from .schemas import CreateEvaluation, Evaluation, OutputItem

router = APIRouter(prefix="/v1", tags=["evaluations"], route_class=JsonRoute)

_HTML: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A page that needs nothing else.",
        "content": {"text/html": {"schema": {"type": "string"}}},
    }
}


@router.post("/evaluations", dependencies=[ONCE])
def create_evaluation(
    body: CreateEvaluation, parts: Parts, tenant_id: TrainingTenant
) -> Evaluation:
    """Compare two models on a file of examples."""
    if body.testing_criteria:
        check_grader(body.testing_criteria[0], parts.settings, "testing_criteria.0")
    with parts.database.transaction() as session:
        return Evaluation.of(creation.create_evaluation(session, tenant_id, body.to_request()))


@router.get("/evaluations")
def list_evaluations(
    parts: Parts,
    tenant_id: TrainingTenant,
    model: Annotated[str | None, Query(description="Only evaluations of this candidate.")] = None,
    after: After = None,
    limit: Limit = 20,
) -> ListOf[Evaluation]:
    """The tenant's evaluations, newest first."""
    with parts.database.reading() as session:
        page = reading.list_evaluations(session, tenant_id, model=model, after=after, limit=limit)
        return ListOf(data=[Evaluation.of(row) for row in page.items], has_more=page.has_more)


@router.get("/evaluations/{evaluation_id}")
def get_evaluation(evaluation_id: str, parts: Parts, tenant_id: TrainingTenant) -> Evaluation:
    """One of the tenant's evaluations."""
    with parts.database.reading() as session:
        return Evaluation.of(reading.get_evaluation(session, tenant_id, evaluation_id))


@router.post("/evaluations/{evaluation_id}/cancel")
def cancel_evaluation(evaluation_id: str, parts: Parts, tenant_id: TrainingTenant) -> Evaluation:
    """Cancel an evaluation."""
    with parts.database.transaction() as session:
        return Evaluation.of(reading.cancel_evaluation(session, tenant_id, evaluation_id))


@router.get("/evaluations/{evaluation_id}/output_items")
def list_output_items(
    evaluation_id: str,
    parts: Parts,
    tenant_id: TrainingTenant,
    after: After = None,
    limit: Limit = 20,
) -> ListWithEnds[OutputItem]:
    """What both models answered, in the order of the examples."""
    if not 1 <= limit <= 10_000:
        raise InvalidRequest(f"`limit` must be between 1 and 10000; it is {limit}.", param="limit")
    with parts.database.reading() as session:
        row = reading.get_evaluation(session, tenant_id, evaluation_id)
    items = reading.read_items(parts.storage, row)
    shown = [
        OutputItem(id=f"{row.id}_{place}", evaluation_id=row.id, **item)
        for place, item in enumerate(items)
    ]
    start = 0
    if after is not None:
        ids = [item.id for item in shown]
        if after not in ids:
            raise NotFound(f"The evaluation {row.id} has no item {after!r}.", param="after")
        start = ids.index(after) + 1
    data = shown[start : start + limit]
    return ListWithEnds(
        data=data,
        has_more=len(shown) > start + limit,
    )


@router.get("/evaluations/{evaluation_id}/report", response_class=Response, responses=_HTML)
def get_evaluation_report(evaluation_id: str, parts: Parts, tenant_id: TrainingTenant) -> Response:
    """The evaluation as a page to read and to send around."""
    with parts.database.reading() as session:
        row = reading.get_evaluation(session, tenant_id, evaluation_id)
    if row.status not in (COMPLETED, INCOMPLETE):
        raise NotFound(
            f"The evaluation {row.id} is {row.status} and has no report"
            + ("." if row.error else " yet."),
            param="evaluation_id",
        )
    try:
        page = parts.storage.get(report_key(row.tenant_id, row.id))
    except ObjectNotFound:
        raise NotFound(
            f"The report of the evaluation {row.id} is not in storage any more.",
            param="evaluation_id",
        ) from None
    return Response(
        page,
        status_code=HTTPStatus.OK,
        media_type="text/html; charset=utf-8",
        # It shows what came from data: nothing in it may run, or load anything.
        headers={
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline';"
            " img-src data:; sandbox",
            "x-content-type-options": "nosniff",
        },
    )


@router.get("/fine_tuning/jobs/{job_id}/evaluation")
def get_evaluation_of_job(job_id: str, parts: Parts, tenant_id: TrainingTenant) -> Evaluation:
    """How a job's model compares with what it was tuned from."""
    with parts.database.reading() as session:
        return Evaluation.of(reading.evaluation_of_job(session, tenant_id, job_id))
