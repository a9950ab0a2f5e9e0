"""The tables. Times are seconds since the epoch, as in OpenAI's API.

`seq` gives every list its order (newest last) and its pages a cursor; `id` is what clients see.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tunesmith.platform.domain.job import JobStatus

# SQLite counts up only in a column declared INTEGER PRIMARY KEY.
_Sequence = BigInteger().with_variant(Integer, "sqlite")
_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_LIVE = text("deleted_at IS NULL")
_LEASED = text("lease_expires_at IS NOT NULL")
_EXPIRES = text("expires_at IS NOT NULL AND deleted_at IS NULL")
_CONTINUED = text("parent_digest IS NOT NULL")


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {dict[str, Any]: _Json, list[Any]: _Json, float: Float(53)}  # noqa: RUF012


class Tenant(Base):
    """An organisation: owns keys, files, jobs and models."""

    __tablename__ = "tenants"
    __table_args__ = tuple(
        Index(
            f"tenants_by_{flag}",
            "last_claimed_at",
            "seq",
            sqlite_where=text(f"{flag} = 1"),
            postgresql_where=text(flag),
        )
        for flag in ("has_unread", "has_queued")
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    slug: Mapped[str] = mapped_column(String(32), unique=True)
    created_at: Mapped[float]
    last_claimed_at: Mapped[float] = mapped_column(default=0.0)
    policy: Mapped[dict[str, Any] | None]  # its bar and forgetting limit; none means the defaults
    limits: Mapped[dict[str, Any] | None]  # those that are its own; the settings' where none
    suspended_at: Mapped[float | None]
    # Set by triggers when a job comes to wait: see `tunesmith.platform.jobs.turns`.
    has_unread: Mapped[bool] = mapped_column(default=False, server_default=false())
    has_queued: Mapped[bool] = mapped_column(default=False, server_default=false())


class ApiKey(Base):
    """A tenant's key, or the administrator's (no tenant). Only the SHA-256 of the key is kept."""

    __tablename__ = "api_keys"
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[float]
    revoked_at: Mapped[float | None]
    expires_at: Mapped[float | None]
    scopes: Mapped[list[Any] | None]  # none, as in keys of before there were scopes: all
    limits: Mapped[dict[str, Any] | None]  # beside the tenant's
    replaced_by: Mapped[str | None] = mapped_column(String(64))  # the key that it was rotated into


class BaseModel(Base):
    """A base model that trainers hold and engines serve."""

    __tablename__ = "bases"
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    source: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    context_length: Mapped[int]
    max_rank: Mapped[int]
    config: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class File(Base):
    """An upload, or a result. The bytes are in storage under `storage_key`."""

    __tablename__ = "files"
    __table_args__ = (
        Index("files_by_tenant", "tenant_id", "seq"),
        Index(
            "files_by_size",
            "tenant_id",
            "expires_at",
            "bytes",
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
        Index("files_by_expiry", "expires_at", sqlite_where=_EXPIRES, postgresql_where=_EXPIRES),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    storage_key: Mapped[str] = mapped_column(Text)
    examples_key: Mapped[str | None] = mapped_column(Text)
    examples: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str | None] = mapped_column(String(16))  # of examples; none means chats
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    deleted_at: Mapped[float | None]


class Job(Base):
    """A fine-tuning job: its request, its place in the queue, its progress."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_status", "status", "tenant_id", "created_at", "seq"),
        Index("jobs_by_tenant", "tenant_id", "seq"),
        Index("jobs_by_idempotency", "tenant_id", "idempotency_key", unique=True),
        Index("jobs_by_fingerprint", "tenant_id", "fingerprint", "created_at"),
        Index("jobs_by_lease", "lease_expires_at", sqlite_where=_LEASED, postgresql_where=_LEASED),
        Index("jobs_by_end", "finished_at", "tenant_id"),
        Index(
            "jobs_by_parent",
            "parent_digest",
            sqlite_where=_CONTINUED,
            postgresql_where=_CONTINUED,
        ),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    status: Mapped[str] = mapped_column(String(32), default=JobStatus.VALIDATING_FILES)

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
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
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
        Index("models_by_name", "name", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("models_by_tenant", "tenant_id", "seq"),
        Index("models_by_adapter", "adapter_digest"),
        Index("models_by_job", "job_id"),
        Index(
            "models_living",
            "tenant_id",
            "adapter_digest",
            "job_id",
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
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
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    step_number: Mapped[int]
    model_name: Mapped[str] = mapped_column(String(512))
    adapter_digest: Mapped[str] = mapped_column(ForeignKey("adapters.digest"))
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class _Worked:
    """Work that an evaluator claims under a lease: see `tunesmith.platform.claims`."""

    status: Mapped[str] = mapped_column(String(16), default="queued")
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    error: Mapped[dict[str, Any] | None]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)


class DataReport(_Worked, Base):
    """The data report of a file of examples; its JSON lies in storage under `report_key`."""

    __tablename__ = "data_reports"
    __table_args__ = (Index("data_reports_by_status", "status", "seq"),)
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    file_id: Mapped[str] = mapped_column(ForeignKey("files.id"), unique=True)
    report_key: Mapped[str | None] = mapped_column(Text)


class Evaluation(_Worked, Base):
    """Two models compared on the same examples. Answers lie in storage under `items_key`."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("evaluations_by_status", "status", "seq"),
        Index("evaluations_by_tenant", "tenant_id", "seq"),
        Index("evaluations_by_job", "job_id", "seq"),
        Index("evaluations_by_candidate", "tenant_id", "candidate_model", "seq"),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    name: Mapped[str | None] = mapped_column(String(128))
    user_metadata: Mapped[dict[str, Any] | None]
    base_name: Mapped[str] = mapped_column(ForeignKey("bases.name"))
    baseline_model: Mapped[str] = mapped_column(String(512))
    baseline_digest: Mapped[str | None] = mapped_column(String(64))  # none: the base itself
    candidate_model: Mapped[str] = mapped_column(String(512))
    candidate_digest: Mapped[str | None] = mapped_column(String(64))
    request: Mapped[dict[str, Any]]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    result: Mapped[dict[str, Any] | None]
    items_key: Mapped[str | None] = mapped_column(Text)


class Alias(Base):
    """A tenant's own model name; its last revision says what it points at."""

    __tablename__ = "aliases"
    __table_args__ = (
        Index(
            "aliases_by_name",
            "tenant_id",
            "name",
            unique=True,
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class AliasRevision(Base):
    """One change of an alias: what it points at from then on, who changed it, when and why."""

    __tablename__ = "alias_revisions"
    __table_args__ = (Index("alias_revisions_by_number", "alias_id", "number", unique=True),)
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    alias_id: Mapped[str] = mapped_column(ForeignKey("aliases.id"))
    number: Mapped[int]
    action: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(String(512))
    candidate: Mapped[str | None] = mapped_column(String(512))
    candidate_share: Mapped[float] = mapped_column(default=0.0)
    forced: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str | None] = mapped_column(Text)
    evaluation_id: Mapped[str | None] = mapped_column(String(64))
    key_id: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[float]


class Usage(Base):
    """What a key used of a model on a day (UTC); `alias` is empty where none was named."""

    __tablename__ = "usage"
    __table_args__ = (Index("usage_by_day", "day"),)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    model: Mapped[str] = mapped_column(String(512), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger, default=0)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    completion_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cached_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))


class UsageBatch(Base):
    """A write of usage that was done: one whose answer was lost is not added a second time."""

    __tablename__ = "usage_batches"
    __table_args__ = (Index("usage_batches_by_time", "written_at"),)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    written_at: Mapped[float]


class StoredBytes(Base):
    """The most that a tenant had in storage on a day (UTC): its files and its adapters."""

    __tablename__ = "stored_bytes"
    __table_args__ = (Index("stored_bytes_by_day", "day"),)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)


class Budget(Base):
    """What is left of a limit a minute, at `updated_at`; gateways take shares of it."""

    __tablename__ = "budgets"
    name: Mapped[str] = mapped_column(String(192), primary_key=True)
    level: Mapped[float]
    updated_at: Mapped[float]


class Audit(Base):
    """What an administrator, or a tenant's own, did to tenants, keys, limits and settings."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_by_tenant", "tenant_id", "seq"),)
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]
    actor: Mapped[str] = mapped_column(String(256))  # a key's id, or who a bearer token names
    tenant_id: Mapped[str | None] = mapped_column(String(64))  # whose thing it was
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(512))
    detail: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None] = mapped_column(String(128))


class Batch(Base):
    """Requests of a file, answered into another at low priority; held by a lease."""

    __tablename__ = "batches"
    __table_args__ = (
        Index("batches_by_tenant", "tenant_id", "seq"),
        Index(
            "batches_by_lease", "lease_expires_at", sqlite_where=_LEASED, postgresql_where=_LEASED
        ),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    key_id: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="validating")
    endpoint: Mapped[str] = mapped_column(String(64))
    completion_window: Mapped[str] = mapped_column(String(16))
    input_file: Mapped[str] = mapped_column(ForeignKey("files.id"))
    output_file: Mapped[str | None] = mapped_column(ForeignKey("files.id"))
    error_file: Mapped[str | None] = mapped_column(ForeignKey("files.id"))
    user_metadata: Mapped[dict[str, Any] | None]
    errors: Mapped[list[Any] | None]
    total: Mapped[int] = mapped_column(default=0)
    completed: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    times: Mapped[dict[str, Any]]  # when each status began, by OpenAI's names: in_progress_at ...
    created_at: Mapped[float]
    expires_at: Mapped[float]
    output_expires_after: Mapped[int | None]  # seconds
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[float | None]  # none: there is nothing left to do


class Upload(Base):
    """A file that comes in parts."""

    __tablename__ = "uploads"
    __table_args__ = (
        Index("uploads_by_tenant", "tenant_id", "seq"),
        Index("uploads_by_expiry", "status", "expires_at"),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    mime_type: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16), default="pending")
    created_at: Mapped[float]
    expires_at: Mapped[float]
    expires_after: Mapped[int | None]  # the file's life, in seconds
    file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"))


class UploadPart(Base):
    """A part of an upload; its bytes are in storage until the upload ends."""

    __tablename__ = "upload_parts"
    __table_args__ = (Index("upload_parts_by_upload", "upload_id", "seq"),)
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"))
    bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str] = mapped_column(Text)
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
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
        Index("permissions_by_grantee", "grantee_id", "seq"),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    model_name: Mapped[str] = mapped_column(String(512))
    grantee_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class WebhookEndpoint(Base):
    """Where a tenant wants to be told of events, and the secret that signs them."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index("webhook_endpoints_by_tenant", "tenant_id", "seq"),)
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(128))
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    secret: Mapped[str] = mapped_column(String(128))
    old_secret: Mapped[str | None] = mapped_column(String(128))  # of before a rotation
    old_secret_until: Mapped[float | None]  # it signs beside the new one until then
    disabled_at: Mapped[float | None]  # it answered 410: nothing more is sent
    created_at: Mapped[float]
    updated_at: Mapped[float]
    deleted_at: Mapped[float | None]


class WebhookDelivery(Base):
    """An event to be sent to an endpoint, tried again until it is taken or its time is over."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("webhook_deliveries_by_event", "endpoint_id", "event_id", unique=True),
        Index("webhook_deliveries_by_endpoint", "endpoint_id", "seq"),
        Index("webhook_deliveries_by_time", "status", "next_at"),
    )
    seq: Mapped[int] = mapped_column(_Sequence, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id"))
    event_id: Mapped[str] = mapped_column(String(64))
    event_type: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[float]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float]
    delivered_at: Mapped[float | None]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[float | None]


class Idempotency(Base):
    """The answer to a create that named an `Idempotency-Key`: a repeat gets the same."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("idempotency_by_time", "expires_at"),)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    route: Mapped[str] = mapped_column(String(128), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]  # none: still being answered
    body: Mapped[dict[str, Any] | None]
    created_at: Mapped[float]
    expires_at: Mapped[float]


class Heartbeat(Base):
    """When a process that works alone was last alive (database's clock)."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    beaten_at: Mapped[float]
