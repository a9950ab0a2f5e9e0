"""Permissions: a tenant lets others use one of its models, by its name (OpenAI's checkpoint
permissions). To use is to ask it and to see it; it is not to delete it, tune from it or read its
job.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from tunesmith.platform import models
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import Model, Permission, Tenant
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound


def grant(
    session: Session, tenant_id: str, model_name: str, grantee_ids: Sequence[str]
) -> list[Permission]:
    """Let other tenants use a model: all of them, or with an error none.

    A tenant that has the permission keeps it, with its id.

    Raises:
        NotFound: no such model of this tenant, or an id that is no tenant's.
        InvalidRequest: the owner is among them.
    """
    models.get_model(session, tenant_id, model_name)
    wanted = list(dict.fromkeys(grantee_ids))
    # Ids alone, never names or slugs: who can name an id was given it by its tenant, so that the
    # answer tells nobody which tenants there are.
    known = set(session.scalars(select(Tenant.id).where(Tenant.id.in_(wanted))))
    for place, grantee_id in enumerate(wanted):
        if grantee_id not in known:
            raise NotFound(
                f"No project {grantee_id!r} exists. A project's id is its tenant's (org-...).",
                param=f"project_ids.{place}",
            )
        if grantee_id == tenant_id:
            raise InvalidRequest(
                "The model is this project's own; it needs no permission.",
                param=f"project_ids.{place}",
            )
    lock_name(session, f"permissions {model_name}")  # two of the same at once are one
    held = {
        row.grantee_id: row
        for row in session.scalars(
            _of_model(tenant_id, model_name).where(Permission.grantee_id.in_(wanted))
        )
    }
    for grantee_id in wanted:
        if grantee_id not in held:
            held[grantee_id] = Permission(
                id=ids.permission_id(),
                tenant_id=tenant_id,
                model_name=model_name,
                grantee_id=grantee_id,
                created_at=time.time(),
            )
            session.add(held[grantee_id])
            session.flush()
    return [held[grantee_id] for grantee_id in wanted]


def list_permissions(
    session: Session,
    tenant_id: str,
    model_name: str,
    *,
    grantee_id: str | None = None,
    after: str | None = None,
    limit: int = 10,
    newest_first: bool = True,
) -> Page[Permission]:
    """Who may use a tenant's model; only `grantee_id`, if it is given.

    Raises:
        NotFound: no such model of this tenant, or `after` names no permission of it.
        InvalidRequest: `limit` is out of range.
    """
    models.get_model(session, tenant_id, model_name)
    query = _of_model(tenant_id, model_name)
    if grantee_id is not None:
        query = query.where(Permission.grantee_id == grantee_id)
    after_seq = _get(session, tenant_id, model_name, after, "after").seq if after else None
    return page(
        session,
        query,
        Permission.seq,
        after_seq=after_seq,
        limit=limit,
        newest_first=newest_first,
    )


def revoke(session: Session, tenant_id: str, model_name: str, permission_id: str) -> Permission:
    """Take a permission back.

    Raises:
        NotFound: no such model of this tenant, or no such permission of it.
    """
    models.get_model(session, tenant_id, model_name)
    row = _get(session, tenant_id, model_name, permission_id, "permission_id")
    row.deleted_at = time.time()
    session.flush()
    return row


def usable_model(session: Session, tenant_id: str, name: str) -> Model:
    """A model that a tenant may ask: its own, or one that it has the permission for.

    Raises:
        NotFound: it does not exist, was deleted, or the tenant has no access; which is not said.
    """
    try:
        return models.get_model(session, tenant_id, name)
    except NotFound:
        found = session.scalars(_granted(tenant_id).where(Model.name == name)).one_or_none()
        if found is None:
            raise
        return found


def granted_models(session: Session, tenant_id: str) -> Sequence[Model]:
    """Models of others that a tenant may ask, oldest permission first."""
    return session.scalars(_granted(tenant_id).order_by(Permission.seq)).all()


def _granted(tenant_id: str) -> Select[Model]:
    return (
        select(Model)
        .join(
            Permission,
            (Permission.model_name == Model.name) & (Permission.tenant_id == Model.tenant_id),
        )
        .where(
            Permission.grantee_id == tenant_id,
            Permission.deleted_at.is_(None),
            Model.deleted_at.is_(None),
        )
    )


def _of_model(tenant_id: str, model_name: str) -> Select[Permission]:
    return select(Permission).where(
        Permission.tenant_id == tenant_id,
        Permission.model_name == model_name,
        Permission.deleted_at.is_(None),
    )


def _get(
    session: Session, tenant_id: str, model_name: str, permission_id: str, param: str
) -> Permission:
    found = session.scalars(
        _of_model(tenant_id, model_name).where(Permission.id == permission_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"The model has no permission {permission_id!r}.", param=param)
    return found
