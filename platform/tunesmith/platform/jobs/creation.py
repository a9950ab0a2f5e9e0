"""A job is refused at once when it cannot succeed or could not be served; else it is a row."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.hyperparameters import AUTO, METHODS, check_hyperparameters
from tunesmith.platform.domain.names import check_suffix
from tunesmith.platform.limits.schema import Limits
from tunesmith.platform.quotas import NO_LIMITS, check_new_job

from .job_examples import check_evaluation_file, check_files
from .moves import add_event
from .servability import check_servable, resolve_model

RETRY_WINDOW = 600.0
"""Seconds in which a repeated create that says it is a retry gets the first one's job."""

MAX_SEED = 2**31 - 1
MAX_IDEMPOTENCY_KEY = 255
_MAX_METADATA = 16
_MAX_METADATA_KEY = 64
_MAX_METADATA_VALUE = 512


@dataclass(frozen=True)
class JobRequest:
    """What a client asks for, as OpenAI's create call names it.

    Attributes:
        evaluation: how the result is to be measured: `file`, `grader`, and bounds of its own.
        ignore_data_report: train though the data is such that it makes no sense.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: Mapping[str, str] | None = None
    method_type: str = "supervised"
    hyperparameters: Mapping[str, Any] | None = None
    hyperparameters_path: str = "hyperparameters"
    integrations: Sequence[Mapping[str, Any]] | None = None
    evaluation: Mapping[str, Any] | None = None
    ignore_data_report: bool = False

    def fingerprint(self) -> str:
        """SHA-256 of the request: equal for a retry of the same create."""
        said = asdict(self)
        # As it was before there were any, for the keys used then.
        for extension in ("integrations", "evaluation", "ignore_data_report"):
            if not said[extension]:
                del said[extension]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def create_job(
    session: Session,
    tenant_id: str,
    request: JobRequest,
    *,
    idempotency_key: str | None = None,
    is_retry: bool = False,
    trackers: Collection[str] = (),
    limits: Limits = NO_LIMITS,
    traceparent: str | None = None,
) -> Job:
    """Create a job, or return the one that this very create made before.

    The official SDK repeats a create whose answer was lost, without an idempotency key but with
    its retry count: such a repeat within `RETRY_WINDOW` finds the first one's job.

    Args:
        idempotency_key: the client's `Idempotency-Key` header.
        is_retry: the client says that it asked before.
        trackers: where the operator lets jobs send their metrics, such as "wandb".
        limits: of tenants that have none of their own.
        traceparent: of the request, where it is traced.

    Raises:
        LimitReached: the tenant has as many jobs that wait, or tuned models, as it may have.
        InvalidRequest: what cannot succeed, with the parameter that is wrong.
        NotFound: an unknown model, or a file that the tenant does not have.
    """
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= MAX_IDEMPOTENCY_KEY:
        raise InvalidRequest(
            f"An `Idempotency-Key` has 1 to {MAX_IDEMPOTENCY_KEY} characters.",
            code="invalid_idempotency_key",
        )
    # A retry may overtake the create that it repeats, before that one's job can be seen.
    lock_name(session, f"{tenant_id} {request.fingerprint()}")
    known = _earlier(session, tenant_id, request, idempotency_key, is_retry)
    if known is not None:
        return known

    _check_method(request.method_type)
    hyperparameters = check_hyperparameters(
        request.hyperparameters, request.hyperparameters_path, request.method_type
    )
    _check_validation(request, hyperparameters)
    integrations = _checked_integrations(request.integrations, trackers)
    suffix = check_suffix(request.suffix)
    metadata = _checked_metadata(request.metadata)
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        raise InvalidRequest(
            f"`seed` must be from 0 to {MAX_SEED}; it is {request.seed}.", param="seed"
        )
    base, parent = resolve_model(session, tenant_id, request.model)
    check_servable(base, parent, hyperparameters, request.hyperparameters_path)
    check_files(
        session, tenant_id, request.method_type, request.training_file, request.validation_file
    )

    evaluation = dict(request.evaluation) if request.evaluation else None
    if evaluation and evaluation.get("file") is not None:
        check_evaluation_file(
            session, tenant_id, request.method_type, request.training_file, evaluation["file"]
        )

    check_new_job(session, tenant_id, limits)
    job = Job(
        id=ids.job_id(),
        tenant_id=tenant_id,
        created_at=time.time(),
        model=request.model,
        base_name=base.name,
        base_digest=base.digest,
        parent_digest=None if parent is None else parent.digest,
        training_file=request.training_file,
        validation_file=request.validation_file,
        suffix=suffix,
        seed=secrets.randbelow(MAX_SEED) if request.seed is None else request.seed,
        user_metadata=metadata,
        method={"type": request.method_type},
        integrations=integrations,
        fingerprint=request.fingerprint(),
        idempotency_key=idempotency_key,
        hyperparameters=hyperparameters,
        evaluation=evaluation,
        ignore_data_report=request.ignore_data_report,
        traceparent=traceparent,
    )
    try:
        with session.begin_nested():
            session.add(job)
            session.flush()
    except IntegrityError:
        # Another request with the same idempotency key won the race.
        known = _earlier(session, tenant_id, request, idempotency_key, is_retry)
        if known is None:
            raise
        return known
    add_event(session, job.id, f"Created fine-tuning job: {job.id}")
    add_event(session, job.id, f"Validating training file: {job.training_file}")
    session.flush()
    return job


def _earlier(
    session: Session,
    tenant_id: str,
    request: JobRequest,
    idempotency_key: str | None,
    is_retry: bool,
) -> Job | None:
    if idempotency_key is not None:
        job = session.scalars(
            select(Job).where(Job.tenant_id == tenant_id, Job.idempotency_key == idempotency_key)
        ).one_or_none()
        if job is not None and job.fingerprint != request.fingerprint():
            raise InvalidRequest(
                "This `Idempotency-Key` was used for a different request; use a new key.",
                code="idempotency_key_reused",
            )
        return job
    if not is_retry:
        return None
    return session.scalars(
        select(Job)
        .where(
            Job.tenant_id == tenant_id,
            Job.fingerprint == request.fingerprint(),
            Job.created_at > time.time() - RETRY_WINDOW,
        )
        .order_by(Job.seq.desc())
        .limit(1)
    ).one_or_none()


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise InvalidRequest(
            f"The method {method!r} is not available here; available are {' and '.join(METHODS)}.",
            param="method.type",
            code="unsupported_method",
        )


def _check_validation(request: JobRequest, hyperparameters: Mapping[str, Any]) -> None:
    """A file or a split, not both; and something to validate on where the loss is to stop it."""
    split, patience = (
        hyperparameters["validation_split"],
        hyperparameters["early_stopping_patience"],
    )
    where = request.hyperparameters_path
    if request.validation_file is not None and split not in {AUTO, 0}:
        raise InvalidRequest(
            f"There are a `validation_file` and `{where}.validation_split`: only one of them can"
            " be validated on. Leave one out.",
            param=f"{where}.validation_split",
        )
    if request.validation_file is None and split == 0 and patience not in {AUTO, 0}:
        raise InvalidRequest(
            f"`{where}.early_stopping_patience` needs examples to validate on: give a"
            " `validation_file`, or a `validation_split` above 0.",
            param=f"{where}.early_stopping_patience",
        )


def _checked_integrations(
    integrations: Sequence[Mapping[str, Any]] | None, trackers: Collection[str]
) -> list[dict[str, Any]] | None:
    for index, integration in enumerate(integrations or ()):
        if integration["type"] not in trackers:
            raise InvalidRequest(
                f"The operator of this platform has not enabled {integration['type']!r}. Leave it"
                " out of `integrations`; a job's metrics are in its events and its result file.",
                param=f"integrations.{index}.type",
                code="unsupported_integration",
            )
    return [dict(integration) for integration in integrations] if integrations else None


def _checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str] | None:
    if not metadata:
        return None
    if len(metadata) > _MAX_METADATA:
        raise InvalidRequest(
            f"`metadata` has {len(metadata)} pairs; at most {_MAX_METADATA} are kept.",
            param="metadata",
        )
    for key, value in metadata.items():
        good = isinstance(value, str) and len(value) <= _MAX_METADATA_VALUE
        if not good or not 1 <= len(key) <= _MAX_METADATA_KEY:
            raise InvalidRequest(
                f"`metadata.{key[:80]}`: a key has 1 to {_MAX_METADATA_KEY} characters and a value"
                f" is a text of at most {_MAX_METADATA_VALUE}.",
                param="metadata",
            )
    return dict(metadata)
