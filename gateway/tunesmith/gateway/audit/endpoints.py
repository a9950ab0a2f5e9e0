"""The route of the audit log, named and filtered as OpenAI's is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from tunesmith.gateway.auth import Administering
from tunesmith.gateway.pages import After, Limit, ListWithEnds
from tunesmith.gateway.resources import Parts
from tunesmith.platform.audit import AuditFilter, list_audit
from tunesmith.platform.domain.errors import NotPermitted
from tunesmith.platform.tenants import get_tenant

from .schemas import AuditLog

router = APIRouter(prefix="/v1/organization", tags=["administration"])

_LATEST = 2**53
Time = Annotated[int | None, Query(ge=0, le=_LATEST)]


@router.get("/audit_logs")
def list_audit_logs(
    parts: Parts,
    own: Administering,
    *,
    tenant: Annotated[
        str | None,
        Query(description="Only of this tenant (id, name or slug); for the administrator."),
    ] = None,
    types: Annotated[
        list[str], Query(alias="event_types[]", description="Only these acts.", max_length=100)
    ] = [],  # noqa: B006 - FastAPI copies it
    actors: Annotated[
        list[str], Query(alias="actor_ids[]", description="Only of these keys.", max_length=100)
    ] = [],  # noqa: B006
    targets: Annotated[
        list[str], Query(alias="resource_ids[]", description="Only on these.", max_length=100)
    ] = [],  # noqa: B006
    since: Annotated[Time, Query(alias="effective_at[gte]")] = None,
    before: Annotated[Time, Query(alias="effective_at[lt]")] = None,
    after: After = None,
    limit: Limit = 20,
) -> ListWithEnds[AuditLog]:
    """What was done to tenants, keys, limits, settings and models, newest first."""
    if own is not None and tenant is not None:
        raise NotPermitted("`tenant` is for the platform's administrator: you see your own acts.")
    with parts.database.reading() as session:
        whose = own if tenant is None else get_tenant(session, tenant).id
        wanted = AuditFilter(
            tenant_id=whose,
            actions=types,
            actors=actors,
            targets=targets,
            since=since,
            before=before,
        )
        page = list_audit(session, wanted, after=after, limit=limit)
        data = [AuditLog.of(row) for row in page.items]
    return ListWithEnds(
        data=data,
        has_more=page.has_more,
    )
