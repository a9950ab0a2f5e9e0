"""Tenants and keys, as the administrator sees them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.platform.database.models import ApiKey
from tunesmith.platform.database.models import Tenant as TenantRow
from tunesmith.platform.tenants import MAX_NAME


class CreateTenant(BaseModel):
    """A new tenant."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=MAX_NAME)


class CreateKey(BaseModel):
    """A new key."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(default="default", min_length=1, max_length=MAX_NAME)


class Key(BaseModel):
    """A key of a tenant. The key itself is not kept: `hint` is its beginning and end."""

    id: str
    object: Literal["organization.api_key"] = "organization.api_key"
    tenant: str
    name: str
    hint: str
    created_at: int
    revoked_at: int | None

    @classmethod
    def of(cls, key: ApiKey) -> Key:
        """A row as the API shows it."""
        assert key.tenant_id is not None, "the administrator's key is not listed"
        return cls(
            id=key.id,
            tenant=key.tenant_id,
            name=key.name,
            hint=key.hint,
            created_at=int(key.created_at),
            revoked_at=None if key.revoked_at is None else int(key.revoked_at),
        )


class NewKey(Key):
    """A key that was just made, with its text: it cannot be shown again."""

    key: str

    @classmethod
    def shown(cls, key: ApiKey, text: str) -> NewKey:
        """A row and the key's text."""
        return cls(**Key.of(key).model_dump(), key=text)


class Tenant(BaseModel):
    """A tenant; `slug` is its part in the names of its tuned models."""

    id: str
    object: Literal["organization"] = "organization"
    name: str
    slug: str
    created_at: int

    @classmethod
    def of(cls, tenant: TenantRow) -> Tenant:
        """A row as the API shows it."""
        return cls(
            id=tenant.id, name=tenant.name, slug=tenant.slug, created_at=int(tenant.created_at)
        )


class NewTenant(Tenant):
    """A tenant that was just made, with its first key: it cannot be shown again."""

    key: str
    key_id: str

    @classmethod
    def shown(cls, tenant: TenantRow, key: ApiKey, text: str) -> NewTenant:
        """A row, its first key and that key's text."""
        return cls(**Tenant.of(tenant).model_dump(), key=text, key_id=key.id)
