"""An evaluation is asked for: by a job that ends, or by a tenant for any two of its models."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import claims, files
from tunesmith.platform.database.models import Evaluation, File, Job, Model
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.jobs.reading import get_job
from tunesmith.platform.policy import policy_of

from .sides import Side, find_side


@dataclass(frozen=True)
class EvaluationRequest:
    """What a tenant asks for; None leaves it to the defaults.

    Attributes:
        candidate: the model that is to be better.
        baseline: the model that it is compared with; the candidate's base where None.
        file: id of a file of examples; the candidate's job's held-out examples where None.
        grader: in OpenAI's form; the metric fits the answers where None.
        probes: whether to look at what was forgotten.
    """

    candidate: str
    baseline: str | None = None
    file: str | None = None
    name: str | None = None
    grader: Mapping[str, Any] | None = None
    minimum_relative_improvement: float | None = None
    maximum_forgetting: float | None = None
    probes: bool = True
    metadata: Mapping[str, str] | None = None


def create_evaluation(session: Session, tenant_id: str, asked: EvaluationRequest) -> Evaluation:
    """Queue an evaluation.

    Raises:
        NotFound: an unknown model or file.
        InvalidRequest: the models have different bases or are the same, or there is nothing to
            measure on.
    """
    candidate = find_side(session, tenant_id, asked.candidate, "model")
    baseline = (
        Side(candidate.base, candidate.base, None)
        if asked.baseline is None
        else find_side(session, tenant_id, asked.baseline, "baseline")
    )
    if (candidate.base, candidate.digest) == (baseline.base, baseline.digest):
        raise InvalidRequest(
            f"`{candidate.name}` and `{baseline.name}` are the same model: there is nothing to"
            " compare.",
            param="baseline",
        )
    job = _maker(session, tenant_id, candidate)
    source = (
        _source_of_job(session, job) if asked.file is None else _own(session, tenant_id, asked.file)
    )
    if source["type"] == "none":
        raise InvalidRequest(
            f"The job of `{candidate.name}` held no examples out. Name a `file` of examples that"
            " the model was not trained on.",
            param="file",
        )
    return _add(
        session,
        tenant_id,
        job=None,
        name=asked.name,
        metadata=asked.metadata,
        baseline=baseline,
        candidate=candidate,
        source=source | _trained_on(session, job),
        given={
            "grader": None if asked.grader is None else dict(asked.grader),
            "minimum_relative_improvement": asked.minimum_relative_improvement,
            "maximum_forgetting": asked.maximum_forgetting,
            "probes": asked.probes,
        },
    )


def add_for_job(session: Session, job: Job, digest: str) -> Evaluation:
    """Queue the evaluation of a job that has just succeeded; `digest` is of its adapter.

    It is compared with the model that the job started from.
    """
    given = dict(job.evaluation or {})
    return _add(
        session,
        job.tenant_id,
        job=job,
        name=None,
        metadata=None,
        baseline=Side(job.model, job.base_name, job.parent_digest),
        candidate=Side(str(job.fine_tuned_model), job.base_name, digest),
        source=_source_of_job(session, job) | _trained_on(session, job),
        given=given,
    )


def _add(
    session: Session,
    tenant_id: str,
    *,
    job: Job | None,
    name: str | None,
    metadata: Mapping[str, str] | None,
    baseline: Side,
    candidate: Side,
    source: dict[str, Any],
    given: Mapping[str, Any],
) -> Evaluation:
    if baseline.base != candidate.base:
        raise InvalidRequest(
            f"`{baseline.name}` and `{candidate.name}` have different bases; models of one base can"
            " be compared.",
            param="baseline",
            code="different_bases",
        )
    policy = policy_of(session, tenant_id).as_json()
    bar, limit = "minimum_relative_improvement", "maximum_forgetting"
    evaluation = Evaluation(
        id=ids.evaluation_id(),
        tenant_id=tenant_id,
        job_id=None if job is None else job.id,
        name=name,
        user_metadata=dict(metadata) if metadata else None,
        base_name=candidate.base,
        baseline_model=baseline.name,
        baseline_digest=baseline.digest,
        candidate_model=candidate.name,
        candidate_digest=candidate.digest,
        status=claims.QUEUED,
        created_at=time.time(),
        request={
            "source": source,
            "grader": given.get("grader"),
            bar: policy[bar] if given.get(bar) is None else given[bar],
            limit: policy[limit] if given.get(limit) is None else given[limit],
            "probes": given.get("probes", True) is not False,
        },
    )
    session.add(evaluation)
    session.flush()
    return evaluation


def _source_of_job(session: Session, job: Job | None) -> dict[str, Any]:
    """The examples that a job did not learn from, the least used ones first."""
    if job is None:
        return {"type": "none"}
    named = (job.evaluation or {}).get("file")
    for kind, file_id in (("file", named), ("validation_file", job.validation_file)):
        if file_id is None:
            continue
        file = session.scalars(select(File).where(File.id == file_id)).one_or_none()
        if file is not None and file.deleted_at is None and file.examples_key is not None:
            return {"type": kind, "file_id": file.id, "examples_key": file.examples_key}
    if job.held_out_key is not None:
        return {"type": "held_out", "examples_key": job.held_out_key}
    return {"type": "none"}


def _trained_on(session: Session, job: Job | None) -> dict[str, Any]:
    """Where the training examples lie: what is too like them measures memory."""
    if job is None:
        return {}
    file = session.scalars(select(File).where(File.id == job.training_file)).one()
    return {} if file.deleted_at is not None else {"training_key": file.examples_key}


def _own(session: Session, tenant_id: str, file_id: str) -> dict[str, Any]:
    return {"type": "file", **evaluation_file(session, tenant_id, file_id, "file")}


def evaluation_file(session: Session, tenant_id: str, file_id: str, param: str) -> dict[str, str]:
    """Id and examples of a tenant's file.

    Raises:
        NotFound: the tenant has no such file.
        InvalidRequest: it was not uploaded as examples.
    """
    try:
        file = files.get_file(session, tenant_id, file_id)
    except NotFound:
        raise NotFound(
            f"The file {file_id!r} (`{param}`) does not exist.", param=param, code="file_not_found"
        ) from None
    if file.examples_key is None:
        raise InvalidRequest(
            f"The file {file_id!r} has the purpose {file.purpose!r}; `{param}` needs one that was"
            " uploaded with the purpose 'fine-tune'.",
            param=param,
            code="invalid_file_purpose",
        )
    return {"file_id": file.id, "examples_key": file.examples_key}


def _maker(session: Session, tenant_id: str, side: Side) -> Job | None:
    if side.digest is None:
        return None
    job_id = session.scalar(
        select(Model.job_id).where(Model.name == side.name, Model.deleted_at.is_(None))
    )
    return None if job_id is None else get_job(session, tenant_id, job_id)
