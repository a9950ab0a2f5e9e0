"""The administrator's key: one at a time, of the settings or made at the first start."""

from __future__ import annotations

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.audit import record
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import ApiKey
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.keys import key_hash, new_key

from .keys import KeyTerms, add_key


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
    now_valid = session.scalars(select(ApiKey).where(ApiKey.hash == key_hash(key))).one_or_none()
    if now_valid is None:
        now_valid = add_key(session, None, "admin", key, KeyTerms())
    elif now_valid.tenant_id is None:
        now_valid.revoked_at = None
    else:
        raise InvalidRequest("The administrator's key is a tenant's key.", param="admin_key")
    record(
        session,
        actor="settings",
        tenant_id=None,
        action="admin_api_key.replaced" if living else "admin_api_key.created",
        target=now_valid.id,
    )
    session.flush()
    return key
