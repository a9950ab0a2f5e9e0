"""Tenants and their API keys, and the administrator's key."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import ApiKey, Tenant
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotAuthenticated, NotFound
from tunesmith.platform.domain.keys import key_hash, key_hint, new_key
from tunesmith.platform.domain.names import MAX_SLUG, slug

MAX_NAME = 128


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a tenant, or the administrator (`tenant_id` is None)."""

    key_id: str
    tenant_id: str | None

    @property
    def is_admin(self) -> bool:
        """Whether this is the platform's administrator."""
        return self.tenant_id is None


def create_tenant(session: Session, name: str) -> Tenant:
    """A new tenant.

    Raises:
        InvalidRequest: the name is empty, too long or taken.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidRequest(f"A tenant's name has 1 to {MAX_NAME} characters.", param="name")
    lock_name(session, "tenants")  # names and slugs are looked up, then taken
    if session.scalars(select(Tenant).where(Tenant.name == name)).first() is not None:
        raise InvalidRequest(
            f"A tenant named {name!r} exists already.", param="name", code="name_taken"
        )
    tenant = Tenant(
        id=ids.tenant_id(), name=name, slug=_free_slug(session, name), created_at=time.time()
    )
    session.add(tenant)
    session.flush()
    return tenant


def _free_slug(session: Session, name: str) -> str:
    wanted = slug(name)
    candidate, number = wanted, 2
    while session.scalar(select(Tenant.seq).where(Tenant.slug == candidate)) is not None:
        ending = f"-{number}"
        candidate = wanted[: MAX_SLUG - len(ending)].rstrip("-") + ending
        number += 1
    return candidate


def list_tenants(session: Session) -> Sequence[Tenant]:
    """All tenants, oldest first."""
    return session.scalars(select(Tenant).order_by(Tenant.seq)).all()


def get_tenant(session: Session, id_or_name: str) -> Tenant:
    """The tenant of this id or name.

    Raises:
        NotFound: there is none.
    """
    tenant = session.scalars(
        select(Tenant)
        .where((Tenant.id == id_or_name) | (Tenant.name == id_or_name))
        .order_by((Tenant.id == id_or_name).desc())
    ).first()
    if tenant is None:
        raise NotFound(f"No tenant {id_or_name!r} exists.", param="tenant")
    return tenant


def create_key(session: Session, tenant_id: str, name: str) -> tuple[ApiKey, str]:
    """A new key of a tenant, and its text: it is not kept and cannot be shown again.

    Raises:
        NotFound: no such tenant.
        InvalidRequest: the key's name is empty or too long.
    """
    if session.scalar(select(Tenant.seq).where(Tenant.id == tenant_id)) is None:
        raise NotFound(f"No tenant {tenant_id!r} exists.", param="tenant")
    key = new_key()
    return _add_key(session, tenant_id, name, key), key


def _add_key(session: Session, tenant_id: str | None, name: str, key: str) -> ApiKey:
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidRequest(f"A key's name has 1 to {MAX_NAME} characters.", param="name")
    row = ApiKey(
        id=ids.key_id(),
        tenant_id=tenant_id,
        name=name,
        hash=key_hash(key),
        hint=key_hint(key),
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    return row


def list_keys(session: Session, tenant_id: str) -> Sequence[ApiKey]:
    """A tenant's keys, revoked ones included, oldest first."""
    return session.scalars(
        select(ApiKey).where(ApiKey.tenant_id == tenant_id).order_by(ApiKey.seq)
    ).all()


def revoke_key(session: Session, tenant_id: str, key_id: str) -> ApiKey:
    """Revoke a tenant's key; revoking it again changes nothing.

    Raises:
        NotFound: no such key of this tenant.
    """
    row = session.scalars(
        select(ApiKey).where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"No key {key_id!r} exists.", param="key")
    row.revoked_at = row.revoked_at or time.time()
    session.flush()
    return row


def authenticate(session: Session, key: str) -> Caller:
    """Who this key belongs to.

    Raises:
        NotAuthenticated: the key is unknown or revoked; which of both is not said.
    """
    row = session.scalars(
        select(ApiKey).where(ApiKey.hash == key_hash(key), ApiKey.revoked_at.is_(None))
    ).one_or_none()
    if row is None:
        raise NotAuthenticated(f"Incorrect API key provided: {key_hint(key)}")
    return Caller(row.id, row.tenant_id)


def ensure_admin_key(session: Session, key: str | None) -> str | None:
    """Make `key` the administrator's key in place of any other, or make one when there is none.

    Returns:
        The key when it is new: to be shown once.

    Raises:
        InvalidRequest: `key` is empty, or a tenant's key.
    """
    if key is not None and not key.strip():
        raise InvalidRequest("The administrator's key is empty.", param="admin_key")
    lock_name(session, "admin key")  # several gateways may start at once
    living = session.scalars(
        select(ApiKey).where(ApiKey.tenant_id.is_(None), ApiKey.revoked_at.is_(None))
    ).all()
    if key is None:
        if living:
            return None
        key = new_key()
    elif any(row.hash == key_hash(key) for row in living):
        return None
    for row in living:
        row.revoked_at = time.time()
    earlier = session.scalars(select(ApiKey).where(ApiKey.hash == key_hash(key))).one_or_none()
    if earlier is None:
        _add_key(session, None, "admin", key)
    elif earlier.tenant_id is None:
        earlier.revoked_at = None
    else:
        raise InvalidRequest("The administrator's key is a tenant's key.", param="admin_key")
    session.flush()
    return key
