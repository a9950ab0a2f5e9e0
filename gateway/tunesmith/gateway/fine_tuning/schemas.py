"""Fine-tuning jobs, as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tunesmith.platform.database.models import Checkpoint as CheckpointRow
from tunesmith.platform.database.models import Job as JobRow
from tunesmith.platform.database.models import JobEvent as EventRow
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.hyperparameters import AUTO, OPENAI, Value
from tunesmith.platform.jobs.creation import JobRequest


def _is_none(value: object) -> bool:
    return value is None


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class MethodOptions(_Request):
    """How a job of a method trains. Each hyperparameter is a value in its range, or "auto"."""

    hyperparameters: dict[str, Any] | None = None


class MethodRequest(_Request):
    """How a job trains: `supervised` and `dpo` are available here."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: MethodOptions | None = None
    dpo: MethodOptions | None = None
    reinforcement: dict[str, Any] | None = None


_Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Tag = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Wandb(_Request):
    """A run of Weights & Biases that gets a job's metrics."""

    project: _Word
    name: _Word | None = None
    entity: _Word | None = None
    tags: Annotated[list[_Tag], Field(max_length=50)] | None = None


class Integration(_Request):
    """Where else a job's metrics go."""

    type: Literal["wandb"]
    wandb: Wandb


class JobEvaluation(_Request):
    """How a job's result is measured when it has succeeded (not in OpenAI's API).

    `file` holds examples that are neither trained nor validated on; without one it is the
    validation file, or what was held out. `grader` is one of OpenAI's; without one the metric fits
    the answers. The bounds are the tenant's policy where they are not given.
    """

    file: str | None = None
    grader: dict[str, Any] | None = None
    minimum_relative_improvement: Annotated[float, Field(ge=0, le=100)] | None = None
    maximum_forgetting: Annotated[float, Field(ge=0, le=1)] | None = None
    probes: bool = True


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
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None
    evaluation: JobEvaluation | None = None
    ignore_data_report: bool = False

    def to_request(self) -> JobRequest:
        """The request in the platform's words.

        Raises:
            InvalidRequest: it asks for what is not available here, or says a thing twice.
        """
        method = self.method.type if self.method else "supervised"
        own = self._options(method)
        nested = None if own is None else own.hyperparameters
        path = "hyperparameters" if nested is None else f"method.{method}.hyperparameters"
        if self.hyperparameters and method != "supervised":
            raise InvalidRequest(
                "`hyperparameters` (deprecated) is for supervised jobs. Put them into"
                f" `method.{method}.hyperparameters`.",
                param="hyperparameters",
            )
        if nested and self.hyperparameters:
            raise InvalidRequest(
                "Hyperparameters are given in `hyperparameters` (deprecated) and in"
                f" `{path}`. Keep those in `method`.",
                param="hyperparameters",
            )
        return JobRequest(
            model=self.model,
            training_file=self.training_file,
            validation_file=self.validation_file,
            suffix=self.suffix,
            seed=self.seed,
            metadata=self.metadata,
            method_type=method,
            hyperparameters=self.hyperparameters if nested is None else nested,
            hyperparameters_path=path,
            integrations=[
                integration.model_dump(exclude_none=True) for integration in self.integrations or ()
            ],
            evaluation=self.evaluation.model_dump(exclude_none=True) if self.evaluation else None,
            ignore_data_report=self.ignore_data_report,
        )

    def _options(self, method: str) -> MethodOptions | None:
        """What the request says of its method; it says nothing of another one."""
        if self.method is None:
            return None
        given = {"supervised": self.method.supervised, "dpo": self.method.dpo}
        for name, options in given.items():
            if options is not None and name != method:
                raise InvalidRequest(
                    f"`method.{name}` is given, and `method.type` is {method!r}. Name one method.",
                    param=f"method.{name}",
                )
        return given.get(method)


class Hyperparameters(BaseModel):
    """What a job trains with: "auto" until its files are read, extensions only once they are known.

    Beside OpenAI's it has, where they were given or are resolved, `beta` (of dpo), `lora_rank`,
    `lora_alpha`, `lora_dropout`, `target_modules`, `weight_decay`, `warmup_ratio`,
    `lr_scheduler_type`, `max_grad_norm`, `gradient_accumulation_steps`, `early_stopping_patience`
    and `validation_split`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Value] = Field(init=False)

    n_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]


class MethodDetails(BaseModel):
    """How a job of a method trains."""

    hyperparameters: Hyperparameters


class Method(BaseModel):
    """How a job trains."""

    type: str
    supervised: MethodDetails | None = Field(default=None, exclude_if=_is_none)
    dpo: MethodDetails | None = Field(default=None, exclude_if=_is_none)


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
    hyperparameters: Hyperparameters | None = Field(description="Of supervised jobs alone.")
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
        known = Hyperparameters(
            **{
                name: value
                for name, value in job.hyperparameters.items()
                if name in OPENAI or (value is not None and value != AUTO)
            }
        )
        method = str(job.method["type"])
        return cls(
            id=job.id,
            created_at=int(job.created_at),
            finished_at=_seconds(job.finished_at),
            estimated_finish=_seconds(job.estimated_finish),
            model=job.model,
            fine_tuned_model=job.fine_tuned_model,
            organization_id=job.tenant_id,
            status=job.status,
            hyperparameters=known if method == "supervised" else None,
            method=Method.model_validate({"type": method, method: {"hyperparameters": known}}),
            training_file=job.training_file,
            validation_file=job.validation_file,
            result_files=[job.result_file] if job.result_file else [],
            trained_tokens=job.trained_tokens,
            seed=job.seed,
            integrations=job.integrations or [],
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
