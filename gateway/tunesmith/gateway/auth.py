"""Who sends a request, as parameters that a route declares: `TenantId`, `Admin`."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import NotAuthenticated, NotPermitted
from tunesmith.platform.tenants import Caller, authenticate

CALLER_SECONDS = 1.0
"""How long a key's check is believed: a revoked key stops within this time on every gateway."""

_bearer = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer sk-ts-...`")


async def identify(request: Request) -> Caller:
    """Who sent the request; the answer is kept with the request.

    Raises:
        NotAuthenticated: no key, or not a valid one.
    """
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise NotAuthenticated(
            "You didn't provide an API key. Send it in the header `Authorization: Bearer KEY`."
        )
    caller: Caller = await request.state.resources.callers.get(key)
    request.state.caller = caller
    if caller.tenant_id is not None:
        structlog.contextvars.bind_contextvars(tenant_id=caller.tenant_id)
    return caller


def look_up(database: Database, key: str) -> Caller:
    """Who this key belongs to, by the database.

    Raises:
        NotAuthenticated: nobody's, or revoked.
    """
    with database.reading() as session:
        return authenticate(session, key)


async def _tenant(request: Request, _: Annotated[object, Security(_bearer)]) -> str:
    caller = await identify(request)
    if caller.tenant_id is None:
        raise NotPermitted(
            "This is the administrator's key: it owns no files, jobs or models. Create a tenant"
            " (POST /v1/tenants) and use its key here."
        )
    return caller.tenant_id


async def _admin(request: Request, _: Annotated[object, Security(_bearer)]) -> None:
    if not (await identify(request)).is_admin:
        raise NotPermitted("Only the administrator's key may manage tenants and keys.")


TenantId = Annotated[str, Depends(_tenant)]
"""Id of the tenant whose key was sent; the administrator's key is refused (403)."""

Admin = Depends(_admin)
"""Only the administrator's key passes; to be put among a router's dependencies."""
