"""What the dispatcher hands to Ray, and what comes back: plain values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.platform.domain.training import StepMetrics, StoredAdapter

if TYPE_CHECKING:
    from tunesmith.platform.settings import Settings

Method = Literal["supervised", "dpo"]


@dataclass(frozen=True)
class Reporting:
    """How a process that Ray started logs and traces; the settings' values.

    Attributes:
        otlp_endpoint: where spans go; none are made where empty.
    """

    log_format: Literal["auto", "json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str = ""
    trace_sample_ratio: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> Reporting:
        """As the process does that asks Ray."""
        return cls(
            # What Ray forwards to a terminal is no terminal.
            "console" if settings.log_format == "console" else "json",
            settings.log_level,
            settings.otlp_endpoint,
            settings.trace_sample_ratio,
        )


@dataclass(frozen=True)
class CohortSettings:
    """How a cohort's process is to be set up.

    Attributes:
        base_directory: Hugging Face files of the base.
        base_digest: what these files must hash to, so that a base which changed is refused.
        context_length: tokens that the engines take.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of torch.
        storage_url: where states and adapters go.
        checkpoint_every_steps: steps between two resumable states.
        quantization: "4bit" for a base in NF4.
        memory_bytes: for slots and passes beside the base; None for most of what is free.
        gpu_share: of a GPU's memory, base included.
        reporting: how its process logs and traces.
    """

    base_directory: str
    base_digest: str
    context_length: int
    device: str
    threads: int
    storage_url: str
    checkpoint_every_steps: int
    quantization: Literal["4bit"] | None = None
    memory_bytes: int | None = None
    gpu_share: float = 1.0
    reporting: Reporting = Reporting()


@dataclass(frozen=True)
class PreparationWork:
    """Files to be read before a job can train.

    Attributes:
        method: "supervised" or "dpo".
        hyperparameters: the client's, "auto" where open.
        seed: decides which examples are held out.
        ignore_data_report: train even on data that mostly contradicts itself.
        traceparent: of the span that this is a part of, where the job is traced.
        reporting: how the process logs and traces.
        max_rank: what the engines serve.
        parent_digest: adapter to continue from.
        trainer: what the last trainer of the base measured (`CohortWorker.figures`); None before
            the first.
    """

    job_id: str
    base_directory: str
    context_length: int
    storage_url: str
    training_key: str
    validation_key: str | None
    hyperparameters: dict[str, Any]
    max_rank: int
    parent_digest: str | None
    method: Method = "supervised"
    seed: int = 0
    trainer: dict[str, Any] | None = None
    ignore_data_report: bool = False
    traceparent: str | None = None
    reporting: Reporting = Reporting()


@dataclass(frozen=True)
class Refusal:
    """The job cannot be trained; its tenant reads why."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class TrainingWork:
    """A job for a cohort.

    Attributes:
        recipe: from its `Prepared`.
        held_out_key: the training examples that are held out, from its `Prepared`.
        resume_key: storage key of the state to go on from.
        state_prefix: under which new states are stored: no other holder of the job writes there.
        traceparent: of the span that this is a part of, where the job is traced.
    """

    job_id: str
    training_key: str
    validation_key: str | None
    recipe: dict[str, Any]
    seed: int
    parent_digest: str | None
    resume_key: str | None
    state_prefix: str
    held_out_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Probe:
    """A prompt of the training data as training rendered it: the engine must render the same."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    prompt_ids: list[int]


@dataclass(frozen=True)
class Joined:
    """The job takes part in the cohort."""

    job_id: str
    step: int
    total_steps: int


@dataclass(frozen=True)
class Stepped:
    """An optimizer step is done."""

    job_id: str
    metrics: StepMetrics
    remaining_seconds: float


@dataclass(frozen=True)
class StateStored:
    """A resumable state lies in storage. `left` when the job left the cohort with it."""

    job_id: str
    key: str
    step: int
    left: bool = False


@dataclass(frozen=True)
class EpochStored:
    """An epoch's adapter lies in storage."""

    job_id: str
    adapter: StoredAdapter
    metrics: StepMetrics


@dataclass(frozen=True)
class Finished:
    """The job is trained, its adapter lies in storage, and it has left the cohort."""

    job_id: str
    adapter: StoredAdapter
    trained_tokens: int
    probes: list[Probe] = field(default_factory=list)


@dataclass(frozen=True)
class Noted:
    """Something that the job's tenant should read."""

    job_id: str
    message: str


@dataclass(frozen=True)
class NoRoom:
    """The device holds too much for the job now; it left the cohort and has to wait."""

    job_id: str
    message: str


@dataclass(frozen=True)
class Failed:
    """The job cannot go on; it has left the cohort."""

    job_id: str
    code: str
    message: str


Update = Joined | Stepped | StateStored | EpochStored | Finished | Noted | NoRoom | Failed
