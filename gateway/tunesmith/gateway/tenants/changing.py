"""A tenant made or changed, with its lines in the audit log, in one transaction."""

from __future__ import annotations

from tunesmith.gateway.audit.acting import Acting
from tunesmith.gateway.keys.schemas import Key, changed_limits
from tunesmith.gateway.resources import Resources
from tunesmith.platform import tenants
from tunesmith.platform.database.locks import lock_name

from .schemas import ChangeTenant, CreateTenant, NewTenant, Tenant


def create(parts: Resources, body: CreateTenant, actor: Acting) -> NewTenant:
    """A new tenant and its first key."""
    limits = None if body.limits is None else body.limits.as_kept()
    with parts.database.transaction() as session:
        tenant = tenants.create_tenant(session, body.name)
        tenants.limit_tenant(session, tenant, limits)
        key, text = tenants.create_key(session, tenant.id, "default")
        detail = {"name": tenant.name, "slug": tenant.slug, "limits": limits}
        actor.note(session, "tenant.created", tenant.id, tenant_id=tenant.id, detail=detail)
        noted = Key.of(key).noted()
        actor.note(session, "api_key.created", key.id, tenant_id=tenant.id, detail=noted)
        return NewTenant.shown(tenant, key, text)


def change(parts: Resources, called: str, body: ChangeTenant, actor: Acting) -> Tenant:
    """Another name, other limits, suspension or its end."""
    with parts.database.transaction() as session:
        lock_name(session, "tenants")  # two changes of one limit each keep both
        tenant = tenants.get_tenant(session, called)
        detail: dict[str, object] = {}
        if body.name is not None and body.name.strip() != tenant.name:
            detail = {"name": {"from": tenant.name, "to": body.name.strip()}}
            tenants.rename_tenant(session, tenant, body.name)
        if "limits" in body.model_fields_set:
            limits = changed_limits(tenant.limits, body.limits)
            if limits != (tenant.limits or {}):
                detail["limits"] = limits
                tenants.limit_tenant(session, tenant, limits)
        if detail:
            actor.note(session, "tenant.updated", tenant.id, tenant_id=tenant.id, detail=detail)
        if body.suspended is not None and body.suspended != (tenant.suspended_at is not None):
            if body.suspended:
                tenants.suspend_tenant(session, tenant)
            else:
                tenants.reinstate_tenant(session, tenant)
            action = "tenant.suspended" if body.suspended else "tenant.reinstated"
            actor.note(session, action, tenant.id, tenant_id=tenant.id)
        return Tenant.of(tenant)
