"""Routes of the administrator: tenants and their keys."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.auth import Admin
from tunesmith.gateway.json_body import JsonRoute
from tunesmith.gateway.pages import ListOf
from tunesmith.gateway.resources import Parts, Resources
from tunesmith.platform import tenants

from .schemas import CreateKey, CreateTenant, Key, NewKey, NewTenant, Tenant

router = APIRouter(
    prefix="/v1/tenants", tags=["administration"], route_class=JsonRoute, dependencies=[Admin]
)


@router.post("")
def create_tenant(body: CreateTenant, parts: Parts) -> NewTenant:
    """Create a tenant with its first key, which is shown this once."""
    with parts.database.transaction() as session:
        tenant = tenants.create_tenant(session, body.name)
        return NewTenant.shown(tenant, *tenants.create_key(session, tenant.id, "default"))


@router.get("")
def list_tenants(parts: Parts) -> ListOf[Tenant]:
    """All tenants, oldest first."""
    with parts.database.reading() as session:
        return ListOf(data=[Tenant.of(tenant) for tenant in tenants.list_tenants(session).items])


@router.post("/{tenant}/keys")
def create_key(tenant: str, body: CreateKey, parts: Parts) -> NewKey:
    """Create another key of a tenant (its id or name); it is shown this once."""
    with parts.database.transaction() as session:
        owner = tenants.get_tenant(session, tenant)
        return NewKey.shown(*tenants.create_key(session, owner.id, body.name))


@router.get("/{tenant}/keys")
def list_keys(tenant: str, parts: Parts) -> ListOf[Key]:
    """A tenant's keys, revoked ones included, oldest first."""
    with parts.database.reading() as session:
        owner = tenants.get_tenant(session, tenant)
        return ListOf(data=[Key.of(key) for key in tenants.list_keys(session, owner.id).items])


@router.delete("/{tenant}/keys/{key}")
async def revoke_key(tenant: str, key: str, parts: Parts) -> Key:
    """Revoke a key: at once here, within a second on other gateways."""
    revoked = await run_in_threadpool(_revoke, parts, tenant, key)
    parts.callers.forget_where(lambda caller: caller.key_id == revoked.id)
    return revoked


def _revoke(parts: Resources, tenant: str, key: str) -> Key:
    with parts.database.transaction() as session:
        owner = tenants.get_tenant(session, tenant)
        return Key.of(tenants.revoke_key(session, owner.id, key))
