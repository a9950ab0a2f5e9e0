"""Routes of the administrator: tenants and their keys. A tenant is named by id, name or slug."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.audit.acting import Actor
from tunesmith.gateway.auth import Admin
from tunesmith.gateway.empty_body import MayBeEmpty
from tunesmith.gateway.keys import managing
from tunesmith.gateway.keys.managing import WhichTenant
from tunesmith.gateway.keys.schemas import ChangeKey, CreateKey, Key, NewKey, RotateKey
from tunesmith.gateway.pages import After, Limit, ListOf
from tunesmith.gateway.resources import Parts
from tunesmith.platform import tenants

from . import changing
from .schemas import ChangeTenant, CreateTenant, NewTenant, Tenant

router = APIRouter(
    prefix="/v1/tenants", tags=["administration"], route_class=MayBeEmpty, dependencies=[Admin]
)

Named = Annotated[
    str | None, Query(alias="name", description="Only the tenant of this name, id or slug.")
]


def _keys_of(called: str) -> WhichTenant:
    def which(session: Session) -> str:
        return tenants.get_tenant(session, called).id

    return which


@router.post("")
def create_tenant(body: CreateTenant, parts: Parts, actor: Actor) -> NewTenant:
    """Create a tenant with its first key, which is shown this once."""
    return changing.create(parts, body, actor)


@router.get("")
def list_tenants(
    parts: Parts, named: Named = None, after: After = None, limit: Limit = 10_000
) -> ListOf[Tenant]:
    """Tenants, oldest first."""
    with parts.database.reading() as session:
        page = tenants.list_tenants(session, named=named, after=after, limit=limit)
        return ListOf(data=[Tenant.of(row) for row in page.items], has_more=page.has_more)


@router.get("/{tenant}")
def get_tenant(tenant: str, parts: Parts) -> Tenant:
    """One tenant."""
    with parts.database.reading() as session:
        return Tenant.of(tenants.get_tenant(session, tenant))


@router.patch("/{tenant}")
async def change_tenant(tenant: str, body: ChangeTenant, parts: Parts, actor: Actor) -> Tenant:
    """Rename, limit, suspend or reinstate: at once here, within a second on other gateways."""
    changed = await run_in_threadpool(changing.change, parts, tenant, body, actor)
    parts.callers.forget_where(lambda caller: caller.tenant_id == changed.id)
    return changed


@router.post("/{tenant}/keys")
def create_key(tenant: str, body: CreateKey, parts: Parts, actor: Actor) -> NewKey:
    """Create another key of a tenant; it is shown this once."""
    return managing.create(parts, _keys_of(tenant), body, actor)


@router.get("/{tenant}/keys")
def list_keys(tenant: str, parts: Parts, after: After = None, limit: Limit = 10_000) -> ListOf[Key]:
    """A tenant's keys, revoked ones included, oldest first."""
    return managing.listed(parts, _keys_of(tenant), after=after, limit=limit)


@router.get("/{tenant}/keys/{key}")
def get_key(tenant: str, key: str, parts: Parts) -> Key:
    """One of a tenant's keys."""
    return managing.get(parts, _keys_of(tenant), key)


@router.patch("/{tenant}/keys/{key}")
async def change_key(tenant: str, key: str, body: ChangeKey, parts: Parts, actor: Actor) -> Key:
    """Change a key: at once here, within a second on other gateways."""
    changed = await run_in_threadpool(managing.change, parts, _keys_of(tenant), key, body, actor)
    parts.callers.forget_where(lambda caller: caller.key_id == changed.id)
    return changed


@router.post("/{tenant}/keys/{key}/rotate")
async def rotate_key(tenant: str, key: str, body: RotateKey, parts: Parts, actor: Actor) -> NewKey:
    """Replace a key by a new one, which is shown this once; the old one opens a while longer."""
    made = await run_in_threadpool(managing.rotate, parts, _keys_of(tenant), key, body, actor)
    parts.callers.forget_where(lambda caller: caller.key_id == key)
    return made


@router.delete("/{tenant}/keys/{key}")
async def revoke_key(tenant: str, key: str, parts: Parts, actor: Actor) -> Key:
    """Revoke a key: at once here, within a second on other gateways."""
    revoked = await run_in_threadpool(managing.revoke, parts, _keys_of(tenant), key, actor)
    parts.callers.forget_where(lambda caller: caller.key_id == revoked.id)
    return revoked
