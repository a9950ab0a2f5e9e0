"""The audit log, in the shape of OpenAI's."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from tunesmith.platform.database.models import Audit


class Actor(BaseModel):
    """Who did it: a key's id, `oidc:SUBJECT`, or `settings`: the platform at its start."""

    type: Literal["api_key", "oidc", "settings"]
    id: str


class AuditLog(BaseModel):
    """An act: `type` is what was done, `target` to what, `detail` how it is now."""

    id: str
    object: Literal["organization.audit_log"] = "organization.audit_log"
    type: str
    effective_at: int
    actor: Actor
    tenant: str | None
    target: str
    detail: dict[str, Any] | None
    request_id: str | None

    @classmethod
    def of(cls, row: Audit) -> AuditLog:
        """A row as the API shows it."""
        kind: Literal["api_key", "oidc", "settings"] = "api_key"
        if row.actor == "settings":
            kind = "settings"
        elif row.actor.startswith("oidc:"):
            kind = "oidc"
        return cls(
            id=row.id,
            type=row.action,
            effective_at=int(row.created_at),
            actor=Actor(type=kind, id=row.actor),
            tenant=row.tenant_id,
            target=row.target,
            detail=row.detail,
            request_id=row.request_id,
        )
