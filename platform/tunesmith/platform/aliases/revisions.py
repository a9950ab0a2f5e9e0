"""Revisions of an alias, numbered under its row lock."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Alias, AliasRevision

from .reading import Pointing, not_found

CREATE, PROMOTE, SPLIT, ROLLBACK = "create", "promote", "split", "rollback"


@dataclass(frozen=True)
class By:
    """Who makes a change (a key's id), and why."""

    key_id: str | None
    reason: str | None = None


def locked_alias(session: Session, tenant_id: str, name: str) -> Alias:
    """A tenant's alias, which nobody else changes until the transaction ends.

    Raises:
        NotFound: no such alias of this tenant.
    """
    alias = session.scalars(
        select(Alias)
        .where(Alias.tenant_id == tenant_id, Alias.name == name, Alias.deleted_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if alias is None:
        raise not_found(name)
    return alias


def add_revision(
    session: Session,
    alias: Alias,
    action: str,
    model: str,
    by: By,
    *,
    candidate: str | None = None,
    share: float = 0.0,
    forced: bool = False,
    evaluation_id: str | None = None,
) -> Pointing:
    """Write down what an alias points at from now on; the alias is locked, or new."""
    last = session.scalar(
        select(func.max(AliasRevision.number)).where(AliasRevision.alias_id == alias.id)
    )
    revision = AliasRevision(
        alias_id=alias.id,
        number=(last or 0) + 1,
        action=action,
        model=model,
        candidate=candidate,
        candidate_share=share,
        forced=forced,
        reason=(by.reason or "").strip() or None,
        evaluation_id=evaluation_id,
        key_id=by.key_id,
        created_at=time.time(),
    )
    session.add(revision)
    session.flush()
    return Pointing(alias, revision)
