"""A tenant's keys: made, changed, rotated, revoked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import ApiKey, Tenant
from tunesmith.platform.database.paging import MAX_LIMIT, Page, page
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.domain.keys import key_hash, key_hint, new_key

from .authentication import has_expired
from .caller import SCOPES
from .tenants import MAX_NAME

MAX_OVERLAP = 30 * 24 * 3600
"""Longest time, in seconds, that a rotated key lives on beside the new one."""


@dataclass(frozen=True)
class KeyTerms:
    """What a new key may do; none in a place: all scopes, no limits of its own, no end."""

    scopes: Iterable[str] | None = None
    limits: dict[str, Any] | None = None
    expires_at: float | None = None


def create_key(
    session: Session, tenant_id: str, name: str, terms: KeyTerms | None = None
) -> tuple[ApiKey, str]:
    """A new key of a tenant, and its text: it is not kept and cannot be shown again.

    Raises:
        NotFound: no such tenant.
        InvalidRequest: the key's name is empty or too long, or a term of it is not possible.
    """
    if session.scalar(select(Tenant.seq).where(Tenant.id == tenant_id)) is None:
        raise NotFound(f"No tenant {tenant_id!r} exists.", param="tenant")
    key = new_key()
    return add_key(session, tenant_id, name, key, terms or KeyTerms()), key


def add_key(
    session: Session, tenant_id: str | None, name: str, key: str, terms: KeyTerms
) -> ApiKey:
    """A row for `key`."""
    row = ApiKey(
        id=ids.key_id(),
        tenant_id=tenant_id,
        name=_checked_name(name),
        hash=key_hash(key),
        hint=key_hint(key),
        created_at=time.time(),
        expires_at=_checked_expiry(terms.expires_at),
        scopes=None if terms.scopes is None else _checked_scopes(terms.scopes),
        limits=terms.limits or None,
    )
    session.add(row)
    session.flush()
    return row


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidRequest(f"A key's name has 1 to {MAX_NAME} characters.", param="name")
    return name


def _checked_scopes(scopes: Iterable[str]) -> list[str]:
    asked = set(scopes)
    if not asked or not asked <= SCOPES:
        raise InvalidRequest(
            f"`scopes` names at least one of {', '.join(sorted(SCOPES))}, and nothing else.",
            param="scopes",
        )
    return sorted(asked)


def _checked_expiry(expires_at: float | None) -> float | None:
    if has_expired(expires_at, time.time()):
        raise InvalidRequest(
            "`expires_at` is over already; it is a time to come, in seconds since 1970.",
            param="expires_at",
        )
    return expires_at


def list_keys(
    session: Session, tenant_id: str, *, after: str | None = None, limit: int = MAX_LIMIT
) -> Page[ApiKey]:
    """A tenant's keys, revoked and expired ones included, oldest first; `after` is a key's id.

    Raises:
        NotFound: `after` names no key of this tenant.
        InvalidRequest: `limit` is out of range.
    """
    query = select(ApiKey).where(ApiKey.tenant_id == tenant_id)
    after_seq = None if after is None else get_key(session, tenant_id, after, param="after").seq
    return page(session, query, ApiKey.seq, after_seq=after_seq, limit=limit, newest_first=False)


def get_key(
    session: Session, tenant_id: str, key_id: str, *, param: str = "key", lock: bool = False
) -> ApiKey:
    """A tenant's key; with `lock`, nobody else changes it until this transaction ends.

    Raises:
        NotFound: no such key of this tenant.
    """
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"No key {key_id!r} exists.", param=param)
    return row


def change_key(session: Session, tenant_id: str, key_id: str, changes: dict[str, Any]) -> ApiKey:
    """Change some of a living key's `name`, `scopes`, `limits` and `expires_at` (None: never).

    Raises:
        NotFound: no such key of this tenant.
        InvalidRequest: the key is revoked or expired, or a change is not possible.
    """
    row = get_key(session, tenant_id, key_id, lock=True)
    _refuse_dead(row)
    if "name" in changes:
        row.name = _checked_name(changes["name"])
    if "scopes" in changes:
        row.scopes = _checked_scopes(changes["scopes"])
    if "limits" in changes:
        row.limits = changes["limits"] or None
    if "expires_at" in changes:
        row.expires_at = _checked_expiry(changes["expires_at"])
    session.flush()
    return row


def rotate_key(
    session: Session, tenant_id: str, key_id: str, overlap_seconds: float
) -> tuple[ApiKey, str]:
    """A new key in place of another, of the same name, scopes and limits, and its text.

    The old one stops after `overlap_seconds`, or when it would have anyway. A key that was made
    for a time is followed by one for the same time.

    Raises:
        NotFound: no such key of this tenant.
        InvalidRequest: the key is revoked, expired or rotated already, or the overlap is out of
            range.
    """
    if not 0 <= overlap_seconds <= MAX_OVERLAP:
        raise InvalidRequest(
            f"`overlap_seconds` is between 0 and {MAX_OVERLAP}.", param="overlap_seconds"
        )
    old = get_key(session, tenant_id, key_id, lock=True)
    _refuse_dead(old)
    if old.replaced_by is not None:  # its end is that of the overlap, not one it was made for
        raise InvalidRequest(
            f"The key {old.id} was rotated into {old.replaced_by} already: rotate that, or create"
            " another.",
            param="key",
            code="key_rotated",
        )
    now = time.time()
    lifetime = None if old.expires_at is None else old.expires_at - old.created_at
    terms = KeyTerms(old.scopes, old.limits, None if lifetime is None else now + lifetime)
    stops = now + overlap_seconds
    old.expires_at = stops if old.expires_at is None else min(old.expires_at, stops)
    text = new_key()
    row = add_key(session, tenant_id, old.name, text, terms)
    old.replaced_by = row.id
    session.flush()
    return row, text


def _refuse_dead(key: ApiKey) -> None:
    if key.revoked_at is not None or has_expired(key.expires_at, time.time()):
        raise InvalidRequest(
            f"The key {key.id} is revoked or expired, which is for good: create another.",
            param="key",
            code="key_not_active",
        )


def revoke_key(session: Session, tenant_id: str, key_id: str) -> ApiKey:
    """Revoke a tenant's key; revoking it again changes nothing.

    Raises:
        NotFound: no such key of this tenant.
    """
    row = get_key(session, tenant_id, key_id, lock=True)
    row.revoked_at = row.revoked_at or time.time()
    session.flush()
    return row
