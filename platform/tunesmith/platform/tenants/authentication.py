"""Whose key it is. Every answer, good or bad, takes one query, by the key's hash."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import ApiKey, Tenant
from tunesmith.platform.domain.errors import NotAuthenticated, NotPermitted
from tunesmith.platform.domain.keys import key_hash, key_hint

from .caller import SCOPES, Caller


def authenticate(session: Session, key: str) -> Caller:
    """Who this key belongs to.

    Raises:
        NotAuthenticated: the key is unknown, revoked or expired; which of them is not said.
        NotPermitted: its tenant is suspended.
    """
    found = session.execute(
        select(ApiKey, Tenant)
        .outerjoin(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(ApiKey.hash == key_hash(key))
    ).one_or_none()
    if found is None:
        raise incorrect_key(key)
    row, tenant = found
    if row.revoked_at is not None or has_expired(row.expires_at, time.time()):
        raise incorrect_key(key)
    if row.tenant_id is None:
        return Caller(row.id, None)
    return caller_of(
        tenant,
        row.id,
        scopes=SCOPES if row.scopes is None else frozenset(row.scopes),
        key_limits=row.limits,
        expires_at=row.expires_at,
    )


def caller_of(
    tenant: Tenant,
    key_id: str,
    *,
    scopes: frozenset[str],
    key_limits: dict[str, Any] | None = None,
    expires_at: float | None = None,
) -> Caller:
    """A tenant's caller.

    Raises:
        NotPermitted: the tenant is suspended.
    """
    if tenant.suspended_at is not None:
        raise NotPermitted(
            f"The tenant {tenant.name!r} is suspended: its keys open nothing until the platform's"
            " administrator reinstates it.",
            code="tenant_suspended",
        )
    return Caller(
        key_id,
        tenant.id,
        tenant_name=tenant.name,
        tenant_slug=tenant.slug,
        scopes=scopes,
        key_limits=key_limits,
        tenant_limits=tenant.limits,
        expires_at=expires_at,
    )


def has_expired(expires_at: float | None, now: float) -> bool:
    """Whether what lives until `expires_at` is over at `now`: it is, at that moment."""
    return expires_at is not None and expires_at <= now


def incorrect_key(key: str) -> NotAuthenticated:
    """What is said of every key that opens nothing."""
    return NotAuthenticated(
        f"Incorrect API key provided: {key_hint(key)}. It is unknown, revoked or expired."
    )
