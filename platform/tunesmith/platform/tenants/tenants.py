"""Tenants: made, found, renamed, limited, suspended."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import Tenant
from tunesmith.platform.database.paging import MAX_LIMIT, Page, page
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.domain.names import MAX_SLUG, slug

MAX_NAME = 128


def create_tenant(session: Session, name: str) -> Tenant:
    """A new tenant.

    Raises:
        InvalidRequest: the name is empty, too long or taken.
    """
    name = _checked_name(session, name)
    tenant = Tenant(
        id=ids.tenant_id(), name=name, slug=_free_slug(session, name), created_at=time.time()
    )
    session.add(tenant)
    session.flush()
    return tenant


def _checked_name(session: Session, name: str) -> str:
    """`name`, which is free and stays so until this transaction ends."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidRequest(f"A tenant's name has 1 to {MAX_NAME} characters.", param="name")
    lock_name(session, "tenants")  # names and slugs are looked up, then taken
    if session.scalars(select(Tenant).where(Tenant.name == name)).first() is not None:
        raise InvalidRequest(
            f"A tenant named {name!r} exists already.", param="name", code="name_taken"
        )
    return name


def _free_slug(session: Session, name: str) -> str:
    wanted = slug(name)
    candidate, number = wanted, 2
    while session.scalar(select(Tenant.seq).where(Tenant.slug == candidate)) is not None:
        ending = f"-{number}"
        candidate = wanted[: MAX_SLUG - len(ending)].rstrip("-") + ending
        number += 1
    return candidate


def list_tenants(
    session: Session,
    *,
    named: str | None = None,
    after: str | None = None,
    limit: int = MAX_LIMIT,
) -> Page[Tenant]:
    """Tenants, oldest first; `after` is a tenant's id, `named` an id, a name or a slug.

    Raises:
        NotFound: `after` names no tenant.
        InvalidRequest: `limit` is out of range.
    """
    query = select(Tenant)
    if named is not None:
        query = query.where(_is_called(named))
    after_seq = None
    if after is not None:
        after_seq = session.scalar(select(Tenant.seq).where(Tenant.id == after))
        if after_seq is None:
            raise NotFound(f"No tenant {after!r} exists.", param="after")
    return page(session, query, Tenant.seq, after_seq=after_seq, limit=limit, newest_first=False)


def find_tenant(session: Session, called: str) -> Tenant | None:
    """The tenant of this id, else of this name, else of this slug."""
    strongest = case((Tenant.id == called, 0), (Tenant.name == called, 1), else_=2)
    return session.scalars(select(Tenant).where(_is_called(called)).order_by(strongest)).first()


def _is_called(called: str) -> Any:
    return (Tenant.id == called) | (Tenant.name == called) | (Tenant.slug == called)


def get_tenant(session: Session, called: str) -> Tenant:
    """The tenant of this id, name or slug.

    Raises:
        NotFound: there is none.
    """
    tenant = find_tenant(session, called)
    if tenant is None:
        raise NotFound(f"No tenant {called!r} exists.", param="tenant")
    return tenant


def rename_tenant(session: Session, tenant: Tenant, name: str) -> None:
    """Give a tenant another name. Its slug stays: it is part of its models' names.

    Raises:
        InvalidRequest: the name is empty, too long or taken.
    """
    if name.strip() != tenant.name:
        tenant.name = _checked_name(session, name)
        session.flush()


def limit_tenant(session: Session, tenant: Tenant, limits: dict[str, Any] | None) -> None:
    """Give a tenant limits of its own, of the form `limits.schema.Limits`; None: the settings'."""
    tenant.limits = limits or None
    session.flush()


def suspend_tenant(session: Session, tenant: Tenant) -> None:
    """Refuse a tenant's requests from now on; its jobs go on. Again: nothing changes."""
    tenant.suspended_at = tenant.suspended_at or time.time()
    session.flush()


def reinstate_tenant(session: Session, tenant: Tenant) -> None:
    """Take a suspended tenant's requests again."""
    tenant.suspended_at = None
    session.flush()
