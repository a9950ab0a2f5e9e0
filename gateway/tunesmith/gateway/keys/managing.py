"""What is done to a tenant's keys, with its line in the audit log, in one transaction.

The administrator does it to any tenant's keys, and a tenant's own admin to its tenant's.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from tunesmith.gateway.audit.acting import Acting
from tunesmith.gateway.pages import ListOf
from tunesmith.gateway.resources import Resources
from tunesmith.platform import tenants

from .schemas import ChangeKey, CreateKey, Key, NewKey, RotateKey

WhichTenant = Callable[[Session], str]
"""Finds the id of the tenant whose keys are meant."""


def create(parts: Resources, which: WhichTenant, body: CreateKey, actor: Acting) -> NewKey:
    """A new key."""
    with parts.database.transaction() as session:
        tenant_id = which(session)
        made = NewKey.shown(*tenants.create_key(session, tenant_id, body.name, body.terms()))
        actor.note(session, "api_key.created", made.id, tenant_id=tenant_id, detail=made.noted())
    return made


def listed(parts: Resources, which: WhichTenant, *, after: str | None, limit: int) -> ListOf[Key]:
    """A page of keys, oldest first."""
    with parts.database.reading() as session:
        page = tenants.list_keys(session, which(session), after=after, limit=limit)
        return ListOf(data=[Key.of(key) for key in page.items], has_more=page.has_more)


def get(parts: Resources, which: WhichTenant, key_id: str) -> Key:
    """One key."""
    with parts.database.reading() as session:
        return Key.of(tenants.get_key(session, which(session), key_id))


def change(
    parts: Resources, which: WhichTenant, key_id: str, body: ChangeKey, actor: Acting
) -> Key:
    """Other scopes, limits, name or end of a key."""
    with parts.database.transaction() as session:
        tenant_id = which(session)
        row = tenants.get_key(session, tenant_id, key_id, lock=True)
        changes = body.changes(row.limits)
        changed = Key.of(tenants.change_key(session, tenant_id, key_id, changes))
        if changes:
            actor.note(
                session, "api_key.updated", key_id, tenant_id=tenant_id, detail=changed.noted()
            )
    return changed


def rotate(
    parts: Resources, which: WhichTenant, key_id: str, body: RotateKey, actor: Acting
) -> NewKey:
    """A new key in place of another."""
    with parts.database.transaction() as session:
        tenant_id = which(session)
        made = NewKey.shown(*tenants.rotate_key(session, tenant_id, key_id, body.overlap_seconds))
        actor.note(
            session,
            "api_key.rotated",
            key_id,
            tenant_id=tenant_id,
            detail={"new_key": made.id, "overlap_seconds": body.overlap_seconds},
        )
    return made


def revoke(parts: Resources, which: WhichTenant, key_id: str, actor: Acting) -> Key:
    """A key that opens nothing any more."""
    with parts.database.transaction() as session:
        tenant_id = which(session)
        before = tenants.get_key(session, tenant_id, key_id, lock=True).revoked_at
        revoked = Key.of(tenants.revoke_key(session, tenant_id, key_id))
        if before is None:
            actor.note(
                session,
                "api_key.revoked",
                key_id,
                tenant_id=tenant_id,
                detail={"name": revoked.name},
            )
    return revoked
