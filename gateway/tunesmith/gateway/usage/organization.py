"""Routes of limits, for a tenant, and of every tenant's use, for the administrator."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from tunesmith.gateway.auth import Admin, TenantId
from tunesmith.gateway.resources import Parts
from tunesmith.platform import quotas
from tunesmith.platform.tenants import get_tenant
from tunesmith.platform.usage.report import DIMENSIONS

from .days import Day
from .reporting import CSV, Format, GroupBy, KeyId, answer
from .schemas import OrganizationLimits, Usage

router = APIRouter(prefix="/v1/organization", tags=["administration"])


@router.get("/usage", response_model=Usage, responses=CSV, dependencies=[Admin])
def get_usage_of_tenants(
    request: Request,
    parts: Parts,
    *,
    tenant: Annotated[
        str | None, Query(description="Only of this tenant (its id or name).")
    ] = None,
    start: Day = None,
    end: Day = None,
    key_id: KeyId = None,
    group_by: GroupBy = None,
    format: Format = None,
) -> Any:
    """What all tenants used, or one of them: a line for each, or by what is asked for."""
    tenant_id = None
    if tenant is not None:
        with parts.database.reading() as session:
            tenant_id = get_tenant(session, tenant).id
    return answer(
        request,
        parts,
        tenant_id=tenant_id,
        start=start,
        end=end,
        group_by=group_by,
        key_id=key_id,
        form=format,
        known=tuple(DIMENSIONS),
        default=("tenant",) if tenant_id is None else ("tenant", "day", "model", "alias"),
    )


@router.get("/limits")
def get_limits(parts: Parts, tenant_id: TenantId) -> OrganizationLimits:
    """The tenant's limits, and how much of them is used."""
    defaults = quotas.default_limits(parts.settings)
    with parts.database.reading() as session:
        return OrganizationLimits.of(
            quotas.limits_of(session, tenant_id, defaults), quotas.used_by(session, tenant_id)
        )
