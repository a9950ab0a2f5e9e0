"""Fine-tuning jobs, as the API takes and shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tunesmith.platform.database.models import Checkpoint as CheckpointRow
from tunesmith.platform.database.models import Job as JobRow
from tunesmith.platform.database.models import JobEvent as EventRow
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.hyperparameters import RANGES
from tunesmith.platform.jobs.creation import JobRequest


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SupervisedRequest(_Request):
    """How a supervised job trains. Each hyperparameter is a number, or "auto"."""

    hyperparameters: dict[str, Any] | None = None


class MethodRequest(_Request):
    """How a job trains: only `supervised` is available here."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedRequest | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


class CreateJob(_Request):
    """A job to be created, as OpenAI's API takes it."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: dict[str, str] | None = None
    method: MethodRequest | None = None
    hyperparameters: dict[str, Any] | None = None
    integrations: list[dict[str, Any]] | None = None

    def to_request(self) -> JobRequest:
        """The request in the platform's words.

        Raises:
            InvalidRequest: it asks for what is not available here, or says a thing twice.
        """
        if self.integrations:
            raise InvalidRequest(
                "Integrations (such as wandb) are not available here. Leave `integrations` out; a"
                " job's metrics are in its events and in its result file.",
                param="integrations",
                code="unsupported_integration",
            )
        method = self.method.type if self.method else "supervised"
        own = self.method.supervised if self.method else None
        if own is not None and own.hyperparameters and self.hyperparameters:
            raise InvalidRequest(
                "Hyperparameters are given in `hyperparameters` (deprecated) and in"
                " `method.supervised.hyperparameters`. Keep those in `method`.",
                param="hyperparameters",
            )
        nested = own is not None and own.hyperparameters is not None
        return JobRequest(
            model=self.model,
            training_file=self.training_file,
            validation_file=self.validation_file,
            suffix=self.suffix,
            seed=self.seed,
            metadata=self.metadata,
            method_type=method,
            hyperparameters=(
                own.hyperparameters if own is not None and nested else self.hyperparameters
            ),
            hyperparameters_path=(
                "method.supervised.hyperparameters" if nested else "hyperparameters"
            ),
        )


class Hyperparameters(BaseModel):
    """What a job trains with; "auto" until its files are read."""

    n_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]


class Supervised(BaseModel):
    """How a supervised job trains."""

    hyperparameters: Hyperparameters


class Method(BaseModel):
    """How a job trains."""

    type: Literal["supervised"] = "supervised"
    supervised: Supervised


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class Job(BaseModel):
    """A fine-tuning job. Times are seconds since the epoch."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: str
    hyperparameters: Hyperparameters
    method: Method
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    seed: int
    integrations: list[dict[str, Any]]
    metadata: dict[str, str] | None
    error: JobError | None

    @classmethod
    def of(cls, job: JobRow) -> Job:
        """A row as the API shows it."""
        resolved = Hyperparameters(**{name: job.hyperparameters[name] for name in RANGES})
        return cls(
            id=job.id,
            created_at=int(job.created_at),
            finished_at=_seconds(job.finished_at),
            estimated_finish=_seconds(job.estimated_finish),
            model=job.model,
            fine_tuned_model=job.fine_tuned_model,
            organization_id=job.tenant_id,
            status=job.status,
            hyperparameters=resolved,
            method=Method(supervised=Supervised(hyperparameters=resolved)),
            training_file=job.training_file,
            validation_file=job.validation_file,
            result_files=[job.result_file] if job.result_file else [],
            trained_tokens=job.trained_tokens,
            seed=job.seed,
            integrations=[],
            metadata=job.user_metadata,
            error=JobError(**job.error) if job.error else None,
        )


class Event(BaseModel):
    """What happened to a job: a sentence, or a step's metrics in `data`."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, Any] | None

    @classmethod
    def of(cls, event: EventRow) -> Event:
        """A row as the API shows it."""
        return cls(
            id=event.id,
            created_at=int(event.created_at),
            level=event.level,
            message=event.message,
            type=event.type,
            data=event.data,
        )


class Checkpoint(BaseModel):
    """A job's state after an epoch, which can be used as a model."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: dict[str, float]

    @classmethod
    def of(cls, checkpoint: CheckpointRow) -> Checkpoint:
        """A row as the API shows it."""
        return cls(
            id=checkpoint.id,
            created_at=int(checkpoint.created_at),
            fine_tuning_job_id=checkpoint.job_id,
            fine_tuned_model_checkpoint=checkpoint.model_name,
            step_number=checkpoint.step_number,
            metrics={k: v for k, v in checkpoint.metrics.items() if v is not None},
        )


METADATA_FILTER: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "style": "deepObject",
            "explode": True,
            "description": "Only jobs with these pairs (`metadata[k]=v`), or `metadata=null`.",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ]
}


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
