"""Routes of permissions, as OpenAI's clients call them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.auth import TenantAdmin, identify
from tunesmith.gateway.json_body import JsonRoute
from tunesmith.gateway.pages import After, Limit, ListWithEnds
from tunesmith.gateway.resources import Parts
from tunesmith.platform import audit, permissions
from tunesmith.platform.database.models import Permission as PermissionRow

from .schemas import CreatePermissions, Permission, PermissionDeleted

# A model's name may have slashes: its base's has.
_PATH = "/{fine_tuned_model_checkpoint:path}/permissions"

router = APIRouter(
    prefix="/v1/fine_tuning/checkpoints", tags=["fine-tuning"], route_class=JsonRoute
)


@router.post(_PATH)
async def create_permissions(
    fine_tuned_model_checkpoint: str,
    body: CreatePermissions,
    request: Request,
    parts: Parts,
    tenant_id: TenantAdmin,
) -> ListWithEnds[Permission]:
    """Let other tenants use a model."""
    actor = (await identify(request)).key_id

    def grant() -> list[PermissionRow]:
        with parts.database.transaction() as session:
            rows = permissions.grant(
                session, tenant_id, fine_tuned_model_checkpoint, body.project_ids
            )
            for row in rows:
                _note(session, actor, row, "created")
            return rows

    rows = await run_in_threadpool(grant)
    for row in rows:
        parts.catalogue.forget(row.grantee_id, fine_tuned_model_checkpoint)
    return _page(rows, has_more=False)


@router.get(_PATH)
def list_permissions(
    *,
    fine_tuned_model_checkpoint: str,
    parts: Parts,
    tenant_id: TenantAdmin,
    project_id: Annotated[str | None, Query(description="Only this tenant's.")] = None,
    after: After = None,
    limit: Limit = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> ListWithEnds[Permission]:
    """Who may use a model, newest first."""
    with parts.database.reading() as session:
        page = permissions.list_permissions(
            session,
            tenant_id,
            fine_tuned_model_checkpoint,
            grantee_id=project_id,
            after=after,
            limit=limit,
            newest_first=order == "descending",
        )
        return _page(page.items, has_more=page.has_more)


@router.delete(_PATH + "/{permission_id}")
async def delete_permission(
    fine_tuned_model_checkpoint: str,
    permission_id: str,
    request: Request,
    parts: Parts,
    tenant_id: TenantAdmin,
) -> PermissionDeleted:
    """Take a permission back; it counts within a second on every gateway."""
    actor = (await identify(request)).key_id

    def revoke() -> str:
        with parts.database.transaction() as session:
            row = permissions.revoke(session, tenant_id, fine_tuned_model_checkpoint, permission_id)
            _note(session, actor, row, "deleted")
            return row.grantee_id

    grantee_id = await run_in_threadpool(revoke)
    parts.catalogue.forget(grantee_id, fine_tuned_model_checkpoint)
    return PermissionDeleted(id=permission_id)


def _note(session: Session, actor: str, row: PermissionRow, what: str) -> None:
    audit.record(
        session,
        actor=actor,
        tenant_id=row.tenant_id,
        action=f"checkpoint.permission.{what}",
        target=row.id,
        detail={"model": row.model_name, "project_id": row.grantee_id},
    )


def _page(rows: Sequence[PermissionRow], *, has_more: bool) -> ListWithEnds[Permission]:
    return ListWithEnds(
        data=[Permission.of(row) for row in rows],
        has_more=has_more,
    )
