"""Keys, as the administrator and a tenant's own see them."""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tunesmith.platform.database.models import ApiKey
from tunesmith.platform.limits.schema import KeyLimits
from tunesmith.platform.tenants import MAX_NAME, MAX_OVERLAP, SCOPES, KeyTerms

Scope = Literal["inference", "training", "admin"]

_ALL: list[Scope] = ["admin", "inference", "training"]

LATEST = 253_402_300_799
"""The end of the year 9999, in seconds since 1970."""

MAX_LIFE = 100 * 366 * 24 * 3600
"""A century, in seconds."""

DAY = 24 * 3600


class CreateKey(BaseModel):
    """A new key: of all scopes, without an end and without limits, where nothing else is said."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(default="default", min_length=1, max_length=MAX_NAME)
    scopes: list[Scope] | None = Field(default=None, min_length=1, max_length=len(SCOPES))
    expires_in: int | None = Field(default=None, ge=1, le=MAX_LIFE, description="Seconds.")
    expires_at: int | None = Field(
        default=None, ge=0, le=LATEST, description="Seconds since 1970; or give `expires_in`."
    )
    limits: KeyLimits | None = None

    @model_validator(mode="after")
    def _one_end(self) -> CreateKey:
        if self.expires_in is not None and self.expires_at is not None:
            raise ValueError("give `expires_in` or `expires_at`, not both")
        return self

    def terms(self) -> KeyTerms:
        """What the key may do, and until when."""
        expires_at = None if self.expires_at is None else float(self.expires_at)
        if self.expires_in is not None:
            expires_at = time.time() + self.expires_in
        return KeyTerms(
            scopes=self.scopes,
            limits=None if self.limits is None else self.limits.as_kept(),
            expires_at=expires_at,
        )


def _without_default(schema: dict[str, Any]) -> None:
    """What stands for a field that is not named is none of its values."""
    del schema["default"]


class ChangeKey(BaseModel):
    """Changes of a key; what is not named stays. `expires_at` null: it never ends."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(
        default="", min_length=1, max_length=MAX_NAME, json_schema_extra=_without_default
    )
    scopes: list[Scope] = Field(
        default=[], min_length=1, max_length=len(SCOPES), json_schema_extra=_without_default
    )
    expires_at: int | None = Field(default=None, ge=0, le=LATEST)
    limits: KeyLimits | None = Field(
        default=None, description="A limit that is not named stays; null takes it away."
    )

    def changes(self, limits: dict[str, Any] | None) -> dict[str, Any]:
        """What is named, for a key that has `limits` now."""
        named = {field: getattr(self, field) for field in self.model_fields_set}
        if "limits" in named:
            named["limits"] = changed_limits(limits, self.limits)
        return named


def changed_limits(kept: dict[str, Any] | None, changes: KeyLimits | None) -> dict[str, Any]:
    """Limits after a change: one that it does not name stays, null takes one away, or all."""
    if changes is None:
        return {}
    merged = (kept or {}) | changes.model_dump(exclude_unset=True)
    return {name: limit for name, limit in merged.items() if limit is not None}


class RotateKey(BaseModel):
    """A new key in place of one, which lives on for a while."""

    model_config = ConfigDict(extra="forbid", strict=True)
    overlap_seconds: int = Field(
        default=DAY, ge=0, le=MAX_OVERLAP, description="How long the old key still opens."
    )


class Key(BaseModel):
    """A key of a tenant. The key itself is not kept: `hint` is its beginning and end."""

    id: str
    object: Literal["organization.api_key"] = "organization.api_key"
    tenant: str
    name: str
    hint: str
    scopes: list[Scope]
    limits: KeyLimits
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    replaced_by: str | None

    @classmethod
    def of(cls, key: ApiKey) -> Key:
        """A row as the API shows it."""
        assert key.tenant_id is not None, "the administrator's key is not listed"
        return cls(
            id=key.id,
            tenant=key.tenant_id,
            name=key.name,
            hint=key.hint,
            scopes=key.scopes or _ALL,
            limits=KeyLimits.model_validate(key.limits or {}),
            created_at=int(key.created_at),
            expires_at=None if key.expires_at is None else int(key.expires_at),
            revoked_at=None if key.revoked_at is None else int(key.revoked_at),
            replaced_by=key.replaced_by,
        )

    def noted(self) -> dict[str, Any]:
        """What the audit log keeps of it."""
        return {
            "name": self.name,
            "scopes": self.scopes,
            "limits": self.limits.as_kept(),
            "expires_at": self.expires_at,
        }


class NewKey(Key):
    """A key that was just made, with its text: it cannot be shown again."""

    key: str

    @classmethod
    def shown(cls, key: ApiKey, text: str) -> NewKey:
        """A row and the key's text."""
        return cls(**dict(Key.of(key)), key=text)
