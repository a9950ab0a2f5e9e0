"""What is used of models, how much may be, and requests by the file."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import LEASED, SEQUENCE, Base


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


class Batch(Base):
    """Requests of a file, answered into another at low priority; held by a lease."""

    __tablename__ = "batches"
    __table_args__ = (
        Index("batches_by_tenant", "tenant_id", "seq"),
        Index("batches_by_lease", "lease_expires_at", sqlite_where=LEASED, postgresql_where=LEASED),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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
