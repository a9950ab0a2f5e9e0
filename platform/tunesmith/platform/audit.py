"""The audit log: who did what to tenants, keys, limits and settings. Rows are never changed.

A row is written in the transaction of the act: there is none without the other. No secret goes
into it: no key's text, only its id.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Audit
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import NotFound


def record(
    session: Session,
    *,
    actor: str,
    tenant_id: str | None,
    action: str,
    target: str,
    detail: dict[str, Any] | None = None,
    request_id: str | None = None,
) -> Audit:
    """Write down an act, in the act's own transaction.

    Args:
        actor: id of the key, or the subject of the bearer token, that did it.
        tenant_id: whose thing it was done to; None: the platform's.
        action: the kind of thing and what became of it, as OpenAI writes it: `api_key.created`.
        target: the thing's id, or its name where that is its id.
        detail: what changed, as JSON without secrets.
    """
    row = Audit(
        id=ids.audit_id(),
        created_at=time.time(),
        actor=actor,
        tenant_id=tenant_id,
        action=action,
        target=target,
        detail=detail,
        request_id=request_id,
    )
    session.add(row)
    session.flush()
    return row


@dataclass(frozen=True)
class AuditFilter:
    """Which rows; an empty or absent part allows all. Times are seconds since the epoch."""

    tenant_id: str | None = None
    actions: Collection[str] = ()
    actors: Collection[str] = ()
    targets: Collection[str] = ()
    since: float | None = None
    before: float | None = None


def list_audit(
    session: Session, wanted: AuditFilter, *, after: str | None = None, limit: int = 20
) -> Page[Audit]:
    """Acts, newest first; `after` is a row's id.

    Raises:
        NotFound: `after` names no row, or one of another tenant where `wanted` names a tenant.
        InvalidRequest: `limit` is out of range.
    """
    seen = select(Audit)
    if wanted.tenant_id is not None:
        seen = seen.where(Audit.tenant_id == wanted.tenant_id)
    after_seq = None
    if after is not None:
        last = session.scalars(seen.where(Audit.id == after)).one_or_none()
        if last is None:
            raise NotFound(f"No entry {after!r} is in the audit log.", param="after")
        after_seq = last.seq
    if wanted.actions:
        seen = seen.where(Audit.action.in_(wanted.actions))
    if wanted.actors:
        seen = seen.where(Audit.actor.in_(wanted.actors))
    if wanted.targets:
        seen = seen.where(Audit.target.in_(wanted.targets))
    if wanted.since is not None:
        seen = seen.where(Audit.created_at >= wanted.since)
    if wanted.before is not None:
        seen = seen.where(Audit.created_at < wanted.before)
    return page(session, seen, Audit.seq, after_seq=after_seq, limit=limit)
