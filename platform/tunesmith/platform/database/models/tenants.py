"""Tenants and their keys, and what was done to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import SEQUENCE, Base


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
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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


class Audit(Base):
    """What an administrator, or a tenant's own, did to tenants, keys, limits and settings."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_by_tenant", "tenant_id", "seq"),)
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]
    actor: Mapped[str] = mapped_column(String(256))  # a key's id, or who a bearer token names
    tenant_id: Mapped[str | None] = mapped_column(String(64))  # whose thing it was
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(512))
    detail: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None] = mapped_column(String(128))
