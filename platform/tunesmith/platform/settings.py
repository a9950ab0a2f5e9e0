"""Settings: flags beat `TUNESMITH_*` variables, which beat the TOML file, which beats defaults.

Read once, at a process's edge, and passed on: nothing deeper reads the environment. A process
that the supervisor starts gets its settings as `TUNESMITH_*` variables.
"""

from __future__ import annotations

import os
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

MEGABYTE = 1_000_000


class Settings(BaseSettings):
    """All settings of the platform's processes."""

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", extra="forbid")

    home: Path = Field(
        default=Path("~/.tunesmith"),
        description="Folder of everything that one machine keeps: database, files, logs.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port of the gateway.")
    base: str = Field(
        default="pocket",
        description="The base model: 'pocket' (built in), a directory, or a Hugging Face id.",
    )
    base_name: str | None = Field(
        default=None, description="Name of the base in the API; from `base` where not given."
    )
    database_url: str = Field(
        default="", description="SQLAlchemy URL; SQLite under `home` where empty."
    )
    storage_url: str = Field(
        default="", description="Folder, s3:// or gs:// URL of files and adapters."
    )
    ray_address: str | None = Field(
        default=None, description="Address of a Ray cluster; a local one is started where empty."
    )
    engines: Annotated[list[str], NoDecode] = Field(
        default=[], description="Base URLs of vLLM engines, comma-separated."
    )
    admin_key: SecretStr | None = Field(default=None, description="Key of the administrator.")
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    max_file_bytes: int = Field(default=512 * MEGABYTE, gt=0, description="Largest upload.")
    lease_seconds: float = Field(
        default=15.0, gt=0, description="Time without a sign of life after which a job is retaken."
    )
    max_attempts: int = Field(
        default=5, ge=1, description="How often a job is taken up again after losing its worker."
    )
    slots_per_cohort: int = Field(
        default=4, ge=1, description="Jobs that train side by side on one resident base."
    )
    checkpoint_every_steps: int = Field(
        default=50, ge=1, description="Optimizer steps between two resumable checkpoints."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the base is trained and served."
    )
    trainer_threads: int = Field(
        default=0, ge=0, description="CPU threads of a trainer; 0: the machine's physical cores."
    )
    cohort_idle_seconds: float = Field(
        default=300.0, ge=0, description="Time after which an idle cohort gives its device back."
    )
    engine_port: int = Field(default=0, ge=0, le=65535, description="Engine's port; 0: any free.")
    engine_max_loras: int = Field(default=4, ge=1, description="Distinct adapters in one batch.")
    engine_max_cpu_loras: int = Field(default=64, ge=1, description="Adapters in host memory.")
    engine_max_lora_rank: int = Field(default=64, ge=1, description="Highest rank served.")
    engine_max_model_len: int | None = Field(
        default=None, ge=16, description="Context of the engine; the base's where not given."
    )
    engine_args: Annotated[list[str], NoDecode] = Field(
        default=[], description="Further arguments of vLLM's server, separated by spaces."
    )
    engine_wait_seconds: float = Field(
        default=2.0,
        ge=0,
        description="Longest wait for an engine that is starting or restarting before a request"
        " gets 503 with Retry-After.",
    )

    @field_validator("engines", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return (
            [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value
        )

    @field_validator("engine_args", mode="before")
    @classmethod
    def _split_spaces(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

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
        files = [Path(os.environ["TUNESMITH_CONFIG"])] if "TUNESMITH_CONFIG" in os.environ else []
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, files)

    def as_environment(self) -> dict[str, str]:
        """These settings as `TUNESMITH_*` variables, for a child process."""
        environment: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, SecretStr):
                text = value.get_secret_value()
            elif isinstance(value, list):
                text = ("," if name == "engines" else " ").join(value)
            else:
                text = str(value)
            environment[f"TUNESMITH_{name.upper()}"] = text
        return environment
