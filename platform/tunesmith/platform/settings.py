"""Settings: flags beat `TUNESMITH_*` variables, which beat the TOML file, which beats defaults.

Read once, at a process's edge, and passed on: nothing deeper reads the environment. A process
that the supervisor starts gets its settings as `TUNESMITH_*` variables.

`TUNESMITH_CONFIG` names the TOML file. An empty variable counts as absent.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tunesmith.platform.domain.errors import InvalidRequest

MEGABYTE = 1_000_000
_COMMA_LISTS = ("engines", "trackers", "cors_origins")


class Settings(BaseSettings):
    """All settings of the platform's processes."""

    model_config = SettingsConfigDict(
        env_prefix="TUNESMITH_", extra="forbid", env_ignore_empty=True
    )

    home: Path = Field(
        default=Path("~/.tunesmith"),
        description="Folder of everything that one machine keeps: database, files, logs.",
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address that the gateway listens on."
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port of the gateway.")
    tls_certificate_file: Path | None = Field(
        default=None,
        description="PEM file of the certificate, and of those between it and its authority, by"
        " which the gateway serves HTTPS; plain HTTP where not given. Read again when replaced.",
    )
    tls_key_file: Path | None = Field(
        default=None, description="PEM file of its key, without a password."
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Time that the gateway goes on serving after SIGTERM while /readyz says 503:"
        " as long as load balancers take to notice.",
    )
    grace_seconds: float = Field(
        default=5.0,
        ge=0,
        description="Time after that for requests in flight, streams above all, to end; then they"
        " are ended.",
    )
    base: str = Field(
        default="pocket",
        min_length=1,
        description="The base model: 'pocket' (built in), a directory, or a Hugging Face id.",
    )
    base_name: str | None = Field(
        default=None, description="Name of the base in the API; from `base` where not given."
    )
    database_url: str = Field(
        default="", repr=False, description="SQLAlchemy URL; SQLite under `home` where empty."
    )
    migrate: Literal["auto", "wait"] = Field(
        default="auto",
        description="auto: a process brings the database's schema up to date when it starts; wait:"
        " it waits until `tunesmith migrate` has done so, as in a cluster.",
    )
    storage_url: str = Field(
        default="", description="Folder, s3:// or gs:// URL of files and adapters."
    )
    ray_address: str | None = Field(
        default=None, description="Address of a Ray cluster; a local one is started where empty."
    )
    engines: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="vLLM engines, comma-separated: base URLs; dns://NAME:PORT for every address"
        " of a name; kubernetes://NAMESPACE/SERVICE:PORT for a service's ready pods. Where they"
        " speak TLS, https://, dns+https://NAME:PORT, whose certificate has to be of NAME, and"
        " kubernetes+https://NAMESPACE/SERVICE:PORT, of SERVICE.NAMESPACE.svc.",
    )
    engine_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that sign the certificates of engines at https;"
        " the system's, or `SSL_CERT_FILE`'s, where not given.",
    )
    admin_key: SecretStr | None = Field(default=None, description="Key of the administrator.")
    admin_key_overlap_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Time that the administrator's key of before still opens when `admin_key` is"
        " another: as long as a rolling restart takes.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Format of the logs; auto: console on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )

    max_file_bytes: int = Field(default=512 * MEGABYTE, gt=0, description="Largest upload.")
    lease_seconds: float = Field(
        default=15.0, gt=0, description="Time without a sign of life after which a job is retaken."
    )
    max_attempts: int = Field(
        default=5,
        ge=1,
        description="Times that a job is begun, without getting further, before it fails.",
    )
    slots_per_cohort: int = Field(
        default=16,
        ge=1,
        description="Most jobs that train side by side on one resident base, memory permitting.",
    )
    cohorts_per_base: int = Field(
        default=1,
        ge=1,
        description="Most cohorts that hold the same base, each on a GPU of its own: one more is"
        " asked of Ray when the slots of all are taken.",
    )
    checkpoint_every_steps: int = Field(
        default=50, ge=1, description="Optimizer steps between two resumable checkpoints."
    )
    step_events_days: float = Field(
        default=90.0,
        ge=0,
        description="Days after a job's end that its steps' events are kept: most of a database."
        " A succeeded job's result file keeps their figures; all other events stay; 0: for ever.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the base is trained and served."
    )
    base_quantization: Literal["4bit"] | None = Field(
        default=None,
        description="`4bit` lets trainers hold the base in NF4 (QLoRA; needs bitsandbytes): less"
        " memory, slower, and the base that engines serve stays as it is.",
    )
    trainer_memory_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Memory of a trainer's device for jobs beside the base. Unset: 90 % of what is"
        " free when the base is loaded.",
    )
    trainer_gpu_memory: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of a GPU's memory for a trainer, base included; beside an engine that"
        " `tunesmith up` starts, at most what `engine_gpu_memory` leaves.",
    )
    trainer_threads: int = Field(
        default=0,
        ge=0,
        description="CPU threads of a trainer; 0: the machine's physical cores but one.",
    )
    prewarm: bool | None = Field(
        default=None,
        description="Load the base for training before the first job asks for it; where not given,"
        " yes with a Ray that is started here.",
    )
    cohort_idle_seconds: float = Field(
        default=300.0, ge=0, description="Time after which an idle cohort gives its device back."
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address of /metrics, /healthz and /readyz of dispatcher and evaluator;"
        " 0.0.0.0 in a cluster.",
    )
    dispatcher_metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the dispatcher's own /metrics, /healthz and /readyz; where not given,"
        " none, but with `tunesmith up` any free one.",
    )
    evaluator_metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the evaluator's own /metrics, /healthz and /readyz; where not given,"
        " none, but with `tunesmith up` any free one.",
    )
    trainer_resources: dict[str, dict[str, Annotated[float, Field(gt=0)]]] = Field(
        default={},
        description="Ray resources that trainers and readers of files of a base need besides, by"
        ' the base\'s name, as JSON: `{"llama-8b": {"a100": 0.001}}` keeps them to nodes started'
        " with that resource. `CPU`, `GPU` and `memory` (bytes) replace what a trainer asks for.",
    )
    preparation_cpus: float = Field(
        default=0.0,
        ge=0,
        description="CPUs that Ray keeps for reading one job's files. With 0 that may be done on"
        " any node, the head as well, before there is a worker.",
    )
    trackers: Annotated[list[Literal["wandb", "mlflow", "tensorboard"]], NoDecode] = Field(
        default=[],
        description="Where jobs have runs besides, comma-separated: wandb (for jobs whose client"
        " asks for it; account and server by W&B's own variables), mlflow, tensorboard.",
    )
    mlflow_tracking_uri: str | None = Field(
        default=None, description="MLflow's server or store, for the tracker mlflow."
    )
    tensorboard_directory: Path | None = Field(
        default=None,
        description="Folder of TensorBoard's event files; `tensorboard` under `home` where not"
        " given.",
    )
    prices_file: Path | None = Field(
        default=None,
        description="TOML file of the prices of hosted APIs, each with its date, for what tuned"
        " models save.",
    )
    price_sheet: Path | None = Field(
        default=None,
        description="TOML file of what this platform charges its tenants for tokens and storage.",
    )
    evaluation_examples: int = Field(
        default=500, ge=10, description="Most examples that an evaluation asks both models about."
    )
    evaluation_concurrency: int = Field(
        default=16, ge=1, description="Requests of an evaluation that are at the engines at once."
    )
    judge_url: str | None = Field(
        default=None,
        description="Base URL of the OpenAI-compatible endpoint that graders of the type"
        " score_model ask; none: such graders are refused.",
    )
    judge_key: SecretStr | None = Field(default=None, description="Key for `judge_url`.")
    engine_port: int = Field(default=0, ge=0, le=65535, description="Engine's port; 0: any free.")
    engine_max_loras: int = Field(default=4, ge=1, description="Distinct adapters in one batch.")
    engine_max_cpu_loras: int = Field(default=64, ge=1, description="Adapters in host memory.")
    engine_max_lora_rank: int = Field(
        default=64, ge=1, le=512, description="Highest rank served; vLLM has none above 512."
    )
    engine_max_model_len: int | None = Field(
        default=None, ge=16, description="Context of the engine; the base's where not given."
    )
    engine_gpu_memory: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of a GPU's memory for the engine; a trainer may need the rest.",
    )
    engine_args: Annotated[list[str], NoDecode] = Field(
        default=[], description="Further arguments of vLLM's server, quoted as in a shell."
    )
    engine_wait_seconds: float = Field(
        default=2.0,
        ge=0,
        description="Longest wait for an engine that is starting or restarting before a request"
        " gets 503 with Retry-After.",
    )

    engine_max_running: int = Field(
        default=256,
        ge=1,
        description="Requests of this gateway that an engine works on at once; more wait in the"
        " gateway, where tenants take turns.",
    )
    queue_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Longest wait for a turn at a busy engine before a request gets 503 with"
        " Retry-After.",
    )
    adapter_wait_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Longest wait for an engine to pull an adapter that it does not hold.",
    )
    inference_seconds: float = Field(
        default=600.0, gt=0, description="Longest time for an answer that is not streamed."
    )
    engine_fetches_urls: bool = Field(
        default=False,
        description="Whether requests may name images, sound and video by URL, which the engine"
        " fetches from within its network: give it --allowed-media-domains then.",
    )
    share_prefix_cache: bool = Field(
        default=False,
        description="Whether tenants share an engine's cache of prompts: more hits where all of"
        " them send the same text, and one can find out by time what another sent.",
    )
    redis_url: str = Field(
        default="",
        repr=False,
        description="Redis that gateways share limits a minute through; the database where empty.",
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="A tenant's requests a minute; unset: no limit."
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="A tenant's tokens a minute, prompts and answers."
    )
    concurrent_requests: int | None = Field(
        default=None, ge=1, description="A tenant's requests at once."
    )
    queued_jobs: int | None = Field(
        default=None, ge=1, description="A tenant's jobs that wait; one more is refused."
    )
    running_jobs: int | None = Field(
        default=None, ge=1, description="A tenant's jobs that train at once; others wait."
    )
    stored_bytes: int | None = Field(
        default=None, ge=1, description="A tenant's bytes in storage: files and adapters."
    )
    adapters: int | None = Field(default=None, ge=1, description="A tenant's tuned models.")
    oidc_issuer: str | None = Field(
        default=None,
        description="Issuer of OIDC bearer tokens that count as keys, by its discovery document.",
    )
    oidc_audience: str | None = Field(
        default=None, description="Audience that such a token must have; needed with an issuer."
    )
    oidc_tenant_claim: str = Field(
        default="tunesmith_tenant",
        min_length=1,
        description="Claim with the tenant's id, name or slug.",
    )
    oidc_scopes_claim: str = Field(
        default="scope",
        min_length=1,
        description="Claim with the scopes: inference, training, admin; a list, or with spaces.",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="Origins whose pages may call the API from a browser, comma-separated.",
    )
    batch_concurrency: int = Field(
        default=16, ge=1, description="Requests of batches that a gateway has at engines at once."
    )
    webhook_private_addresses: bool = Field(
        default=False,
        description="Let webhooks go to addresses of this machine and of private networks.",
    )
    metrics_tenants: int = Field(
        default=0,
        ge=0,
        le=200,
        description="Tenants that /metrics names by their ids, those that use the most; all others"
        " count as `other`. /metrics needs no key: give no names where strangers reach it.",
    )
    otlp_endpoint: str = Field(
        default="",
        description="Base URL of an OTLP/HTTP collector, such as http://collector:4318, that traces"
        " are sent to; none are made where empty. Needs the extra `tracing`.",
    )
    trace_sample_ratio: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of requests that are traced; those that create a job always are.",
    )

    @field_validator(*_COMMA_LISTS, mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return (
            [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value
        )

    @field_validator("engine_args", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return shlex.split(value) if isinstance(value, str) else value

    @field_validator("admin_key", "judge_key", mode="after")
    @classmethod
    def _strip_key(cls, value: SecretStr | None) -> SecretStr | None:
        # Secrets that come from files end in a newline; an empty one must not open the platform.
        key = value.get_secret_value().strip() if value else ""
        return SecretStr(key) if key else None

    @model_validator(mode="after")
    def _issuer_needs_audience(self) -> Settings:
        # Without one, a token that the issuer made for any other program would open this one.
        if self.oidc_issuer is not None and self.oidc_audience is None:
            raise ValueError(
                "oidc_issuer needs oidc_audience: what the issuer writes into `aud` of the tokens"
                " for this platform"
            )
        return self

    @model_validator(mode="after")
    def _certificate_needs_key(self) -> Settings:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            given, other = ("tls_certificate_file", "tls_key_file")
            if self.tls_key_file is not None:
                given, other = other, given
            raise ValueError(
                f"{given} needs {other}: the gateway serves HTTPS with both, and HTTP with neither"
            )
        return self

    @model_validator(mode="after")
    def _fill_from_home(self) -> Settings:
        self.home = self.home.expanduser().absolute()
        if not self.database_url:
            self.database_url = f"sqlite:///{self.home / 'tunesmith.db'}"
        # `postgresql://` means psycopg 2 to SQLAlchemy; we ship psycopg 3.
        for scheme in ("postgresql://", "postgres://"):
            if self.database_url.startswith(scheme):
                self.database_url = "postgresql+psycopg://" + self.database_url[len(scheme) :]
        if not self.storage_url:
            self.storage_url = str(self.home / "storage")
        return self

    @property
    def adapter_cache(self) -> Path:
        """Where this machine's engine keeps the adapters that it pulled."""
        return self.home / "cache" / "adapters"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (init), variables, then the TOML file."""
        config = os.environ.get("TUNESMITH_CONFIG")
        if not config:
            return init_settings, env_settings
        if not Path(config).is_file():  # else its settings would silently be the defaults
            raise InvalidRequest(
                f"There is no settings file {config!r} (TUNESMITH_CONFIG).",
                param="TUNESMITH_CONFIG",
            )
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(config))

    def as_environment(self) -> dict[str, str]:
        """All these settings as `TUNESMITH_*` variables, for a child process.

        None and empty lists are there as empty variables, and `TUNESMITH_CONFIG` is: what the
        child inherits besides must not add what was not set here.
        """
        environment = {"TUNESMITH_CONFIG": ""}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None:
                text = ""
            elif isinstance(value, SecretStr):
                text = value.get_secret_value()
            elif isinstance(value, list):
                text = ",".join(value) if name in _COMMA_LISTS else shlex.join(value)
            elif isinstance(value, dict):
                text = json.dumps(value)
            else:
                text = str(value)
            environment[f"TUNESMITH_{name.upper()}"] = text
        return environment
