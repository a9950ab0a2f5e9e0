"""The administrator's key: of the settings, or made at the first start.

One at a time, but for the overlap in which the key before still opens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tunesmith.platform.audit import record
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import ApiKey
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.keys import key_hash, new_key

from .keys import KeyTerms, add_key

log = structlog.get_logger(__name__)


def ensure_admin_key(
    session: Session, key: str | None, *, overlap_seconds: float = 0.0
) -> str | None:
    """Make `key` the administrator's key in place of any other, or make one when there is none.

    A key that is replaced opens for `overlap_seconds` more, so that gateways may get the new one
    one after another. One that restarts meanwhile with the key of before changes nothing.

    Returns:
        The key when it is new: to be shown once.

    Raises:
        InvalidRequest: `key` is empty, or a tenant's key.
    """
    if key is not None and not key.strip():
        raise InvalidRequest("The administrator's key is empty.", param="admin_key")
    lock_name(session, "admin key")  # several gateways may start at once
    now = time.time()
    living = session.scalars(
        select(ApiKey).where(
            ApiKey.tenant_id.is_(None),
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        )
    ).all()
    if key is None:
        if living:
            return None
        key = new_key()
    for row in living:
        if row.hash == key_hash(key):
            if row.replaced_by is not None:
                log.warning(
                    "the administrator's key of these settings was replaced",
                    replaced_by=row.replaced_by,
                    opens_for_seconds=round((row.expires_at or now) - now),
                )
            return None
    _make_valid(session, key, living, now + overlap_seconds)
    return key


def _make_valid(session: Session, key: str, living: Sequence[ApiKey], until: float) -> None:
    """Make `key` the one, and let those that live end at `until`."""
    row = session.scalars(select(ApiKey).where(ApiKey.hash == key_hash(key))).one_or_none()
    if row is None:
        row = add_key(session, None, "admin", key, KeyTerms())
    elif row.tenant_id is None:
        row.revoked_at = row.expires_at = row.replaced_by = None
    else:
        raise InvalidRequest("The administrator's key is a tenant's key.", param="admin_key")
    now = time.time()
    for before in living:
        before.replaced_by = row.id
        if until <= now:
            before.revoked_at = now
        else:  # replaced twice within the overlap: the first end counts
            before.expires_at = min(before.expires_at or until, until)
    record(
        session,
        actor="settings",
        tenant_id=None,
        action="admin_api_key.replaced" if living else "admin_api_key.created",
        target=row.id,
    )
    session.flush()
