"""What is found out about files and models, and the names that rest on it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import LIVE, SEQUENCE, Base


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
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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
            sqlite_where=LIVE,
            postgresql_where=LIVE,
        ),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class AliasRevision(Base):
    """One change of an alias: what it points at from then on, who changed it, when and why."""

    __tablename__ = "alias_revisions"
    __table_args__ = (Index("alias_revisions_by_number", "alias_id", "number", unique=True),)
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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
