"""Aliases and their history, as their tenant sees them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Alias, AliasRevision
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain.errors import NotFound


@dataclass(frozen=True)
class Pointing:
    """An alias and where it points now: its last revision."""

    alias: Alias
    revision: AliasRevision


def find_alias(session: Session, tenant_id: str, name: str) -> Pointing | None:
    """A tenant's alias, if there is one."""
    found = session.execute(
        select(Alias, AliasRevision)
        .join(AliasRevision, AliasRevision.alias_id == Alias.id)
        .where(Alias.tenant_id == tenant_id, Alias.name == name, Alias.deleted_at.is_(None))
        .order_by(AliasRevision.number.desc())
        .limit(1)
    ).one_or_none()
    return None if found is None else Pointing(*found)


def get_alias(session: Session, tenant_id: str, name: str) -> Pointing:
    """A tenant's alias.

    Raises:
        NotFound: it does not exist, was deleted, or is another tenant's.
    """
    found = find_alias(session, tenant_id, name)
    if found is None:
        raise not_found(name)
    return found


def not_found(name: str) -> NotFound:
    """What is said of an alias that is missing or another tenant's."""
    return NotFound(f"No alias {name!r} exists.", param="name", code="alias_not_found")


def list_aliases(
    session: Session, tenant_id: str, *, after: str | None = None, limit: int = 20
) -> Page[Pointing]:
    """A tenant's aliases, newest first; `after` is an alias's id.

    Raises:
        NotFound: `after` names no alias of this tenant.
        InvalidRequest: `limit` is out of range.
    """
    own = select(Alias).where(Alias.tenant_id == tenant_id, Alias.deleted_at.is_(None))
    after_seq = None
    if after is not None:
        after_seq = session.scalar(
            select(Alias.seq).where(Alias.tenant_id == tenant_id, Alias.id == after)
        )
        if after_seq is None:
            raise NotFound(f"No alias {after!r} exists.", param="after")
    found = page(session, own, Alias.seq, after_seq=after_seq, limit=limit)
    return Page(_with_revisions(session, found.items), found.has_more)


def all_aliases(session: Session, tenant_id: str) -> list[Pointing]:
    """All aliases of a tenant, oldest first."""
    own = (
        select(Alias)
        .where(Alias.tenant_id == tenant_id, Alias.deleted_at.is_(None))
        .order_by(Alias.seq)
    )
    return _with_revisions(session, list(session.scalars(own)))


def _with_revisions(session: Session, aliases: list[Alias]) -> list[Pointing]:
    newest = (
        select(AliasRevision.alias_id, func.max(AliasRevision.number).label("number"))
        .where(AliasRevision.alias_id.in_([alias.id for alias in aliases]))
        .group_by(AliasRevision.alias_id)
        .subquery()
    )
    revisions = session.scalars(
        select(AliasRevision).join(
            newest,
            (AliasRevision.alias_id == newest.c.alias_id)
            & (AliasRevision.number == newest.c.number),
        )
    )
    by_alias = {revision.alias_id: revision for revision in revisions}
    return [Pointing(alias, by_alias[alias.id]) for alias in aliases]


def revision_id(revision: AliasRevision) -> str:
    """A revision's id, by which pages of the history go on."""
    return f"{revision.alias_id}-{revision.number}"


def history(
    session: Session, tenant_id: str, name: str, *, after: str | None = None, limit: int = 20
) -> Page[AliasRevision]:
    """The revisions of an alias, newest first; `after` is a revision's id.

    Raises:
        NotFound: no such alias of this tenant, or no such revision of it.
        InvalidRequest: `limit` is out of range.
    """
    alias = get_alias(session, tenant_id, name).alias
    query = select(AliasRevision).where(AliasRevision.alias_id == alias.id)
    before = None
    if after is not None:
        numbers = session.scalars(
            select(AliasRevision.number).where(AliasRevision.alias_id == alias.id)
        )
        before = next((n for n in numbers if f"{alias.id}-{n}" == after), None)
        if before is None:
            raise NotFound(f"The alias {name!r} has no revision {after!r}.", param="after")
    return page(session, query, AliasRevision.number, after_seq=before, limit=limit)
