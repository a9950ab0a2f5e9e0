"""What the dispatcher reports of a job, always under its lease: a lost lease changes nothing."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import models
from tunesmith.platform.database.models import Checkpoint, Job, JobEvent
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.job import EventLevel, EventType, JobStatus
from tunesmith.platform.domain.names import checkpoint_model_name, tuned_model_name
from tunesmith.platform.domain.training import Prepared, StepMetrics, StoredAdapter, finite
from tunesmith.platform.evaluations.creation import add_for_job
from tunesmith.platform.tenants import get_tenant

from .moves import add_event, move
from .queue import Lease, leased_job

KEPT_CHECKPOINTS = 3
# Column of the result file, and the figure in it: OpenAI's five, in its order, then ours.
RESULT_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "tokens_per_second": "tokens_per_second",
    "padding_share": "padding_share",
}
CHECKPOINT_FIGURES = frozenset(
    {
        "step",
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
        "full_valid_loss",
        "full_valid_mean_token_accuracy",
    }
)


def prepared(session: Session, lease: Lease, result: Prepared) -> None:
    """The files are good: the job waits for its training, and the lease is given back.

    A job that was paused meanwhile stays so, and goes on from here when it is resumed.

    Raises:
        LeaseLost: the job is not this holder's any more.
        InvalidRequest: its files were read before.
    """
    job = leased_job(session, lease)
    if job.status not in {JobStatus.VALIDATING_FILES, JobStatus.PAUSED}:
        raise InvalidRequest(
            f"Job {job.id} is {job.status}: its files were read before.", code="invalid_job_state"
        )
    job.hyperparameters = result.hyperparameters
    job.recipe = result.recipe
    job.total_steps = result.total_steps
    job.held_out_key = result.held_out_key
    job.prepared_at = time.time()
    job.attempts = 0
    for text in result.notes:
        add_event(session, job.id, text)
    for text in result.warnings:
        add_event(session, job.id, text, level=EventLevel.WARN)
    if job.status == JobStatus.VALIDATING_FILES:  # else paused meanwhile
        move(session, job, JobStatus.QUEUED, "Files validated, moving job to queued state")
    job.lease_token = job.lease_owner = job.lease_expires_at = None
    session.flush()


def record_metrics(
    session: Session,
    lease: Lease,
    metrics: Iterable[StepMetrics],
    *,
    estimated_finish: float | None,
) -> None:
    """Steps were trained. A step that was reported before is replaced.

    Raises:
        LeaseLost: the job is not this holder's any more.
    """
    job = leased_job(session, lease)
    metrics = list(metrics)
    reported = select(JobEvent).where(
        JobEvent.job_id == job.id, JobEvent.step.in_([step.step for step in metrics])
    )
    events = {event.step: event for event in session.scalars(reported)}
    for step in metrics:
        event = events.get(step.step)
        if event is None:
            event = add_event(session, job.id, step.message(), type_=EventType.METRICS)
            event.step = step.step
            events[step.step] = event
        event.message = step.message()
        event.data = step.data()
        job.step = step.step
        job.total_steps = step.total_steps
    if job.status == JobStatus.RUNNING:
        job.estimated_finish = estimated_finish


def record_state(session: Session, lease: Lease, key: str, step: int) -> str | None:
    """A resumable state was stored under `key`; the key of the one that it replaces.

    Raises:
        LeaseLost: the job is not this holder's any more.
    """
    job = leased_job(session, lease)
    if step > job.resume_step:  # it got further: attempts count from here
        job.attempts = 0
    before = job.resume_key
    job.resume_key, job.resume_step = key, step
    return before if before != key else None


def tuned_name(session: Session, job: Job) -> str:
    """The name of the model that this job makes."""
    org = get_tenant(session, job.tenant_id).slug
    return tuned_model_name(job.base_name, org, job.suffix, job.id)


def record_checkpoint(
    session: Session,
    lease: Lease,
    adapter: StoredAdapter,
    *,
    model_name: str,
    step: int,
    metrics: dict[str, Any],
) -> None:
    """An epoch ended: its adapter becomes a model. The last three are kept.

    The adapters of the others stay until the job ends (`models.is_referred`): the result may be
    one of them.

    Raises:
        LeaseLost: the job is not this holder's any more.
    """
    job = leased_job(session, lease)
    known = session.scalars(
        select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step_number == step)
    ).one_or_none()
    if known is not None:  # trained again after a lost worker
        return
    name = checkpoint_model_name(model_name, step)
    _add_model(session, job, adapter, name)
    session.add(
        Checkpoint(
            id=ids.checkpoint_id(),
            job_id=job.id,
            step_number=step,
            model_name=name,
            adapter_digest=adapter.digest,
            metrics=finite(metrics),
            created_at=time.time(),
        )
    )
    add_event(session, job.id, f"Checkpoint created at step {step}", data={"step": step})
    session.flush()
    old = session.scalars(
        select(Checkpoint)
        .where(Checkpoint.job_id == job.id)
        .order_by(Checkpoint.step_number.desc())
        .offset(KEPT_CHECKPOINTS)
    ).all()
    for checkpoint in old:
        session.delete(checkpoint)
        session.flush()
        models.drop_name(session, job.tenant_id, checkpoint.model_name)


def complete(
    session: Session,
    lease: Lease,
    adapter: StoredAdapter,
    *,
    model_name: str,
    trained_tokens: int,
    result_file: str,
) -> Job:
    """The job succeeded, its model can be used, and an evaluation of it is queued.

    Raises:
        LeaseLost: the job is not this holder's any more.
        InvalidRequest: it was paused meanwhile; `requeue` gives the lease back.
    """
    job = leased_job(session, lease)
    if job.status != JobStatus.RUNNING:
        raise InvalidRequest(
            f"Job {job.id} is {job.status} and cannot be completed.", code="invalid_job_state"
        )
    _add_model(session, job, adapter, model_name)
    job.fine_tuned_model = model_name
    job.trained_tokens = trained_tokens
    job.result_file = result_file
    add_event(session, job.id, f"New fine-tuned model created: {model_name}")
    move(session, job, JobStatus.SUCCEEDED, "The job has successfully completed")
    add_for_job(session, job, adapter.digest)
    return job


def fail(session: Session, lease: Lease, code: str, message: str, param: str | None = None) -> Job:
    """The job failed for a reason that its tenant can read.

    Raises:
        LeaseLost: the job is not this holder's any more.
    """
    job = leased_job(session, lease)
    job.error = {"code": code, "message": message, "param": param}
    move(session, job, JobStatus.FAILED, message, level=EventLevel.ERROR)
    return job


def checkpoint_metrics(metrics: StepMetrics) -> dict[str, Any]:
    """The figures that OpenAI's checkpoints carry."""
    return {name: value for name, value in metrics.data().items() if name in CHECKPOINT_FIGURES}


def result_csv(session: Session, job_id: str) -> bytes:
    """The metrics of every step as OpenAI's result file; a figure that is not there is blank."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    events = session.scalars(
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.step.is_not(None))
        .order_by(JobEvent.step)
    )
    for event in events:
        data = event.data or {}
        writer.writerow(data.get(figure, "") for figure in RESULT_COLUMNS.values())
    return text.getvalue().encode()


def _add_model(session: Session, job: Job, adapter: StoredAdapter, name: str) -> None:
    models.add_adapter(
        session,
        digest=adapter.digest,
        base_name=job.base_name,
        base_digest=job.base_digest,
        rank=adapter.rank,
        size=adapter.bytes,
    )
    models.add_model(
        session,
        name=name,
        tenant_id=job.tenant_id,
        base_name=job.base_name,
        adapter_digest=adapter.digest,
        job_id=job.id,
    )
