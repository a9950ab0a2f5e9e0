"""Permissions, in OpenAI's shapes; a project is a tenant here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tunesmith.platform.database.models import Permission as PermissionRow

_Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class CreatePermissions(BaseModel):
    """The ids of the tenants that may use the model from now on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    project_ids: Annotated[list[_Id], Field(min_length=1, max_length=100)]


class Permission(BaseModel):
    """A tenant's leave to use a model of another."""

    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    created_at: int
    project_id: str

    @classmethod
    def of(cls, row: PermissionRow) -> Permission:
        """A row as the API shows it."""
        return cls(id=row.id, created_at=int(row.created_at), project_id=row.grantee_id)


class PermissionDeleted(BaseModel):
    """A permission that was taken back."""

    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    deleted: Literal[True] = True
