"""A job is refused at once when it cannot succeed or could not be served; else it is a row."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tunesmith.platform import bases, files, models
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import File, Job
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.domain.hyperparameters import check_hyperparameters
from tunesmith.platform.domain.names import check_suffix
from tunesmith.platform.examples import MINIMUM_EXAMPLES

from .moves import add_event

RETRY_WINDOW = 600.0
"""Seconds in which a repeated create that says it is a retry gets the first one's job."""

MAX_SEED = 2**31 - 1
MAX_IDEMPOTENCY_KEY = 255
_MAX_METADATA = 16
_MAX_METADATA_KEY = 64
_MAX_METADATA_VALUE = 512


@dataclass(frozen=True)
class JobRequest:
    """What a client asks for, as OpenAI's create call names it."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: Mapping[str, str] | None = None
    method_type: str = "supervised"
    hyperparameters: Mapping[str, Any] | None = None
    hyperparameters_path: str = "hyperparameters"

    def fingerprint(self) -> str:
        """SHA-256 of the request: equal for a retry of the same create."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def create_job(
    session: Session,
    tenant_id: str,
    request: JobRequest,
    *,
    idempotency_key: str | None = None,
    is_retry: bool = False,
) -> Job:
    """Create a job, or return the one that this very create made before.

    The official SDK repeats a create whose answer was lost, without an idempotency key but with
    its retry count: such a repeat within `RETRY_WINDOW` finds the first one's job.

    Args:
        idempotency_key: the client's `Idempotency-Key` header.
        is_retry: the client says that it asked before.

    Raises:
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

    hyperparameters = check_hyperparameters(request.hyperparameters, request.hyperparameters_path)
    if request.method_type != "supervised":
        raise InvalidRequest(
            f"The method {request.method_type!r} is not available here; use 'supervised'.",
            param="method.type",
            code="unsupported_method",
        )
    suffix = check_suffix(request.suffix)
    metadata = _checked_metadata(request.metadata)
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        raise InvalidRequest(
            f"`seed` must be from 0 to {MAX_SEED}; it is {request.seed}.", param="seed"
        )
    base, parent = _resolve_model(session, tenant_id, request.model)
    training = _examples_file(session, tenant_id, request.training_file, "training_file")
    if (training.examples or 0) < MINIMUM_EXAMPLES:
        raise InvalidRequest(
            f"The training file {training.id} has {training.examples} examples; fine-tuning needs"
            f" at least {MINIMUM_EXAMPLES} (100 or more are better).",
            param="training_file",
            code="too_few_examples",
        )
    if request.validation_file is not None:
        if request.validation_file == request.training_file:
            raise InvalidRequest(
                "The validation file is the training file: it would measure memory, not learning."
                " Give other examples, or none.",
                param="validation_file",
            )
        _examples_file(session, tenant_id, request.validation_file, "validation_file")

    job = Job(
        id=ids.job_id(),
        tenant_id=tenant_id,
        created_at=time.time(),
        model=request.model,
        base_name=base.name,
        base_digest=base.digest,
        parent_digest=parent,
        training_file=request.training_file,
        validation_file=request.validation_file,
        suffix=suffix,
        seed=secrets.randbelow(MAX_SEED) if request.seed is None else request.seed,
        user_metadata=metadata,
        method={"type": request.method_type},
        fingerprint=request.fingerprint(),
        idempotency_key=idempotency_key,
        hyperparameters=hyperparameters,
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


def _resolve_model(
    session: Session, tenant_id: str, name: str
) -> tuple[bases.BaseModel, str | None]:
    """The base, and the adapter to continue from when `name` is a tuned model."""
    base = bases.find_base(session, name)
    if base is not None:
        return base, None
    try:
        tuned, adapter = models.keep_model(session, tenant_id, name)
    except NotFound:
        available = ", ".join(sorted(b.name for b in bases.list_bases(session))) or "none yet"
        raise NotFound(
            f"The model `{name}` does not exist or you do not have access to it. Bases that can be"
            f" tuned here: {available}; or name one of your `ft:` models to continue from it.",
            param="model",
            code="model_not_found",
        ) from None
    base = bases.find_base(session, tuned.base_name)
    if base is None or base.digest != adapter.base_digest:
        raise InvalidRequest(
            f"The model `{name}` was tuned on another version of `{tuned.base_name}` than the one"
            " that is served now; it cannot be continued.",
            param="model",
            code="base_changed",
        )
    if adapter.rank > base.max_rank:
        raise InvalidRequest(
            f"The model `{name}` has a LoRA of rank {adapter.rank}; the engines serve at most"
            f" {base.max_rank} now.",
            param="model",
            code="rank_too_high",
        )
    return base, adapter.digest


def _examples_file(session: Session, tenant_id: str, file_id: str, param: str) -> File:
    try:
        file = files.get_file(session, tenant_id, file_id)
    except NotFound:
        raise NotFound(
            f"The file {file_id!r} (`{param}`) does not exist.", param=param, code="file_not_found"
        ) from None
    if file.purpose != "fine-tune" or file.examples_key is None:
        raise InvalidRequest(
            f"The file {file_id!r} has the purpose {file.purpose!r}; `{param}` needs one that was"
            " uploaded with the purpose 'fine-tune'.",
            param=param,
            code="invalid_file_purpose",
        )
    return file


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
