"""Bases, jobs, and what comes of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.platform.domain.job import JobStatus

from .base import LEASED, LIVE, SEQUENCE, Base

CONTINUED = text("parent_digest IS NOT NULL")


class BaseModel(Base):
    """A base model that trainers hold and engines serve."""

    __tablename__ = "bases"
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    source: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    context_length: Mapped[int]
    max_rank: Mapped[int]
    config: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Job(Base):
    """A fine-tuning job: its request, its place in the queue, its progress."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_status", "status", "tenant_id", "created_at", "seq"),
        Index("jobs_by_tenant", "tenant_id", "seq"),
        Index("jobs_by_idempotency", "tenant_id", "idempotency_key", unique=True),
        Index("jobs_by_fingerprint", "tenant_id", "fingerprint", "created_at"),
        Index("jobs_by_lease", "lease_expires_at", sqlite_where=LEASED, postgresql_where=LEASED),
        Index("jobs_by_end", "finished_at", "tenant_id"),
        Index(
            "jobs_by_parent",
            "parent_digest",
            sqlite_where=CONTINUED,
            postgresql_where=CONTINUED,
        ),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    status: Mapped[str] = mapped_column(String(32), default=JobStatus.VALIDATING_FILES)
    traceparent: Mapped[str | None] = mapped_column(String(64))  # W3C, of the creating request

    # The request
    model: Mapped[str] = mapped_column(String(512))
    base_name: Mapped[str] = mapped_column(ForeignKey("bases.name"))
    base_digest: Mapped[str] = mapped_column(String(64))
    parent_digest: Mapped[str | None] = mapped_column(String(64))
    training_file: Mapped[str] = mapped_column(ForeignKey("files.id"))
    validation_file: Mapped[str | None] = mapped_column(ForeignKey("files.id"))
    suffix: Mapped[str | None] = mapped_column(String(64))
    seed: Mapped[int] = mapped_column(BigInteger)
    user_metadata: Mapped[dict[str, Any] | None]
    method: Mapped[dict[str, Any]]
    integrations: Mapped[list[Any] | None]
    fingerprint: Mapped[str] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    evaluation: Mapped[dict[str, Any] | None]  # how its result is to be measured
    ignore_data_report: Mapped[bool | None]

    # What `auto` became, once the files are read
    hyperparameters: Mapped[dict[str, Any]]
    recipe: Mapped[dict[str, Any] | None]
    prepared_at: Mapped[float | None]
    held_out_key: Mapped[str | None] = mapped_column(Text)

    # Progress
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int | None]
    estimated_finish: Mapped[float | None]
    trained_tokens: Mapped[int | None] = mapped_column(BigInteger)
    result_file: Mapped[str | None] = mapped_column(ForeignKey("files.id"))
    fine_tuned_model: Mapped[str | None] = mapped_column(String(512))
    error: Mapped[dict[str, Any] | None]

    # The queue: who works on it, until when, and from which state it goes on
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    resume_key: Mapped[str | None] = mapped_column(Text)
    resume_step: Mapped[int] = mapped_column(default=0)


class JobEvent(Base):
    """What happened to a job. A step trained again after a lost worker replaces its metrics."""

    __tablename__ = "job_events"
    __table_args__ = (
        Index("job_events_by_job", "job_id", "seq"),
        Index("job_events_by_step", "job_id", "step", unique=True),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[float]
    level: Mapped[str] = mapped_column(String(8))
    type: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None]
    step: Mapped[int | None]


class Adapter(Base):
    """The immutable result of training, named by the digest of its content."""

    __tablename__ = "adapters"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    base_name: Mapped[str] = mapped_column(ForeignKey("bases.name"))
    base_digest: Mapped[str] = mapped_column(String(64))
    rank: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class Model(Base):
    """A name that a tenant may use: a tuned model or one of its checkpoints."""

    __tablename__ = "models"
    __table_args__ = (
        Index("models_by_name", "name", unique=True, sqlite_where=LIVE, postgresql_where=LIVE),
        Index("models_by_tenant", "tenant_id", "seq"),
        Index("models_by_adapter", "adapter_digest"),
        Index("models_by_job", "job_id"),
        Index(
            "models_living",
            "tenant_id",
            "adapter_digest",
            "job_id",
            sqlite_where=LIVE,
            postgresql_where=LIVE,
        ),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(512))
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    base_name: Mapped[str] = mapped_column(ForeignKey("bases.name"))
    adapter_digest: Mapped[str] = mapped_column(ForeignKey("adapters.digest"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class Checkpoint(Base):
    """A job's checkpoint that can be used as a model."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index("checkpoints_by_step", "job_id", "step_number", unique=True),)
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    step_number: Mapped[int]
    model_name: Mapped[str] = mapped_column(String(512))
    adapter_digest: Mapped[str] = mapped_column(ForeignKey("adapters.digest"))
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Permission(Base):
    """Another tenant's leave to use a model: OpenAI's checkpoint permission."""

    __tablename__ = "permissions"
    __table_args__ = (
        Index(
            "permissions_by_model",
            "model_name",
            "grantee_id",
            unique=True,
            sqlite_where=LIVE,
            postgresql_where=LIVE,
        ),
        Index("permissions_by_grantee", "grantee_id", "seq"),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    model_name: Mapped[str] = mapped_column(String(512))
    grantee_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]
