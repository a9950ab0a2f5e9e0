"""Routes of a tenant's own keys, beside OpenAI's `/v1/organization/admin_api_keys`."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.audit.acting import Actor
from tunesmith.gateway.auth import TenantAdmin
from tunesmith.gateway.empty_body import MayBeEmpty
from tunesmith.gateway.pages import After, Limit, ListOf
from tunesmith.gateway.resources import Parts

from . import managing
from .managing import WhichTenant
from .schemas import ChangeKey, CreateKey, Key, NewKey, RotateKey

router = APIRouter(
    prefix="/v1/organization/api_keys", tags=["administration"], route_class=MayBeEmpty
)


def _own(tenant_id: str) -> WhichTenant:
    def which(_: Session) -> str:
        return tenant_id

    return which


@router.post("")
def create_own_key(body: CreateKey, parts: Parts, tenant_id: TenantAdmin, actor: Actor) -> NewKey:
    """Create a key of your tenant; it is shown this once."""
    return managing.create(parts, _own(tenant_id), body, actor)


@router.get("")
def list_own_keys(
    parts: Parts, tenant_id: TenantAdmin, after: After = None, limit: Limit = 20
) -> ListOf[Key]:
    """Your tenant's keys, revoked ones included, oldest first."""
    return managing.listed(parts, _own(tenant_id), after=after, limit=limit)


@router.get("/{key}")
def get_own_key(key: str, parts: Parts, tenant_id: TenantAdmin) -> Key:
    """One of your tenant's keys."""
    return managing.get(parts, _own(tenant_id), key)


@router.patch("/{key}")
async def change_own_key(
    key: str, body: ChangeKey, parts: Parts, tenant_id: TenantAdmin, actor: Actor
) -> Key:
    """Change a key: at once here, within a second on other gateways."""
    changed = await run_in_threadpool(managing.change, parts, _own(tenant_id), key, body, actor)
    parts.callers.forget_where(lambda caller: caller.key_id == changed.id)
    return changed


@router.post("/{key}/rotate")
async def rotate_own_key(
    key: str, body: RotateKey, parts: Parts, tenant_id: TenantAdmin, actor: Actor
) -> NewKey:
    """Replace a key by a new one, which is shown this once; the old one opens a while longer."""
    made = await run_in_threadpool(managing.rotate, parts, _own(tenant_id), key, body, actor)
    parts.callers.forget_where(lambda caller: caller.key_id == key)
    return made


@router.delete("/{key}")
async def revoke_own_key(key: str, parts: Parts, tenant_id: TenantAdmin, actor: Actor) -> Key:
    """Revoke a key: at once here, within a second on other gateways."""
    revoked = await run_in_threadpool(managing.revoke, parts, _own(tenant_id), key, actor)
    parts.callers.forget_where(lambda caller: caller.key_id == revoked.id)
    return revoked
