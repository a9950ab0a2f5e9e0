"""Evaluations as their tenant sees them."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import claims
from tunesmith.platform.database.models import Evaluation
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain.errors import InvalidRequest, NotFound, Unavailable
from tunesmith.platform.jobs.reading import get_job
from tunesmith.platform.storage import ObjectNotFound, Storage


def get_evaluation(session: Session, tenant_id: str, evaluation_id: str) -> Evaluation:
    """A tenant's evaluation.

    Raises:
        NotFound: it does not exist, or is another tenant's.
    """
    found = session.scalars(
        select(Evaluation).where(Evaluation.id == evaluation_id, Evaluation.tenant_id == tenant_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"No evaluation {evaluation_id!r} exists.", param="evaluation_id")
    return found


def evaluation_of_job(session: Session, tenant_id: str, job_id: str) -> Evaluation:
    """The evaluation that a job asked for when it succeeded.

    Raises:
        NotFound: no such job of this tenant, or it has no evaluation (yet).
    """
    job = get_job(session, tenant_id, job_id)
    found = session.scalars(
        select(Evaluation)
        .where(Evaluation.job_id == job_id)
        .order_by(Evaluation.seq.desc())
        .limit(1)
    ).one_or_none()
    if found is None:
        raise NotFound(
            f"The job {job_id} is {job.status} and has no evaluation"
            + (
                "; POST /v1/evaluations makes one."
                if job.status == "succeeded"
                else ": it gets one when it has succeeded."
            ),
            param="fine_tuning_job_id",
            code="evaluation_not_found",
        )
    return found


def list_evaluations(
    session: Session,
    tenant_id: str,
    *,
    model: str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> Page[Evaluation]:
    """A tenant's evaluations, newest first; only those of the candidate `model`, if it is given.

    Raises:
        NotFound: `after` names no evaluation of this tenant.
    """
    query = select(Evaluation).where(Evaluation.tenant_id == tenant_id)
    if model is not None:
        query = query.where(Evaluation.candidate_model == model)
    after_seq = get_evaluation(session, tenant_id, after).seq if after else None
    return page(session, query, Evaluation.seq, after_seq=after_seq, limit=limit)


def cancel_evaluation(session: Session, tenant_id: str, evaluation_id: str) -> Evaluation:
    """Cancel an evaluation; what its evaluator still finds out is refused.

    Raises:
        NotFound: no such evaluation of this tenant.
        InvalidRequest: it has ended.
    """
    get_evaluation(session, tenant_id, evaluation_id)
    row = session.scalars(
        select(Evaluation)
        .where(Evaluation.id == evaluation_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    if row.status in claims.ENDED:
        raise InvalidRequest(
            f"The evaluation {row.id} is {row.status} already and cannot be canceled.",
            code="invalid_evaluation_state",
        )
    claims.end(session, row, claims.CANCELED)
    return row


def read_items(storage: Storage, evaluation: Evaluation) -> list[dict[str, Any]]:
    """What both models answered to each example; empty before there is anything.

    Raises:
        Unavailable: storage lost them.
    """
    if evaluation.items_key is None:
        return []
    try:
        return [json.loads(line) for line in storage.get(evaluation.items_key).splitlines()]
    except ObjectNotFound as error:
        raise Unavailable(
            f"The answers of the evaluation {evaluation.id} are not in storage any more.",
            code="items_lost",
        ) from error
