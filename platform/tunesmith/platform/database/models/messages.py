"""What is told, answered once, and heard from processes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import SEQUENCE, Base


class WebhookEndpoint(Base):
    """Where a tenant wants to be told of events, and the secret that signs them."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index("webhook_endpoints_by_tenant", "tenant_id", "seq"),)
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
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


class Leader(Base):
    """Which of several processes of a kind acts, until when (database's clock)."""

    __tablename__ = "leaders"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(256))  # for people: host and process
    token: Mapped[str] = mapped_column(String(32))
    expires_at: Mapped[float]
