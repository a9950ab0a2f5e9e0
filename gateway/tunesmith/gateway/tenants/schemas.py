"""Tenants, as the administrator sees them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.platform.database.models import ApiKey
from tunesmith.platform.database.models import Tenant as TenantRow
from tunesmith.platform.limits.schema import Limits
from tunesmith.platform.tenants import MAX_NAME


class CreateTenant(BaseModel):
    """A new tenant."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=MAX_NAME)
    limits: Limits | None = None


class ChangeTenant(BaseModel):
    """Changes of a tenant; what is not named stays."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)
    limits: Limits | None = Field(
        default=None, description="A limit that is not named stays; null: the settings' counts."
    )
    suspended: bool | None = Field(
        default=None, description="Whether its requests are refused. Its jobs go on."
    )


class Tenant(BaseModel):
    """A tenant; `slug` is its part in the names of its tuned models."""

    id: str
    object: Literal["organization"] = "organization"
    name: str
    slug: str
    limits: Limits
    created_at: int
    suspended_at: int | None

    @classmethod
    def of(cls, tenant: TenantRow) -> Tenant:
        """A row as the API shows it."""
        return cls(
            id=tenant.id,
            name=tenant.name,
            slug=tenant.slug,
            limits=Limits.model_validate(tenant.limits or {}),
            created_at=int(tenant.created_at),
            suspended_at=None if tenant.suspended_at is None else int(tenant.suspended_at),
        )


class NewTenant(Tenant):
    """A tenant that was just made, with its first key: it cannot be shown again."""

    key: str
    key_id: str

    @classmethod
    def shown(cls, tenant: TenantRow, key: ApiKey, text: str) -> NewTenant:
        """A row, its first key and that key's text."""
        return cls(**dict(Tenant.of(tenant)), key=text, key_id=key.id)
