"""Who sends a request and what its key is for, as parameters that a route declares.

`TenantId` takes a key of any scope; `InferenceTenant`, `TrainingTenant` and `TenantAdmin` one of
their scope; `Admin` the platform administrator's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.types import Scope

from tunesmith.gateway.oidc import Token
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import NotAuthenticated, NotPermitted
from tunesmith.platform.tenants import (
    ADMIN,
    INFERENCE,
    TRAINING,
    Caller,
    authenticate,
    caller_of,
    find_tenant,
)

_bearer = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer sk-ts-...`")


async def identify(request: Request) -> Caller:
    """Who sent the request; the answer is kept with the request.

    Raises:
        NotAuthenticated: no key, or not a valid one.
        NotPermitted: the key's tenant is suspended.
    """
    return await identify_scope(request.scope)


async def identify_scope(scope: Scope) -> Caller:
    """The same, of a request that is no `Request` yet."""
    state = scope["state"]
    known: Caller | None = state.get("caller")
    if known is not None:
        return known
    scheme, _, key = _authorization(scope).partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise NotAuthenticated(
            "You didn't provide an API key. Send it in the header `Authorization: Bearer KEY`."
        )
    caller: Caller = await state["resources"].callers.get(key)
    state["caller"] = caller
    if caller.tenant_id is not None:
        structlog.contextvars.bind_contextvars(tenant_id=caller.tenant_id)
    return caller


def _authorization(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            text: str = value.decode("latin-1")
            return text
    return ""


def look_up(database: Database, key: str) -> Caller:
    """Who this key belongs to, by the database.

    Raises:
        NotAuthenticated: nobody's, revoked or expired.
        NotPermitted: its tenant is suspended.
    """
    with database.reading() as session:
        return authenticate(session, key)


def look_up_token(database: Database, token: Token) -> Caller:
    """Who a verified bearer token speaks for, by the database.

    Raises:
        NotAuthenticated: no tenant is called what the token says.
        NotPermitted: the tenant is suspended.
    """
    with database.reading() as session:
        tenant = find_tenant(session, token.tenant)
        if tenant is None:
            raise NotAuthenticated(
                f"The bearer token is for a tenant {token.tenant!r:.140}, which is none of this"
                " platform's."
            )
        return caller_of(tenant, token.key_id, scopes=token.scopes, expires_at=token.expires_at)


def tenant_with(caller: Caller, scope: str | None) -> str:
    """Id of the caller's tenant, whose key must have `scope` (None: any).

    Raises:
        NotPermitted: the key lacks the scope, or is the administrator's.
    """
    if caller.tenant_id is None:
        raise NotPermitted(
            "This is the administrator's key: it owns no files, jobs or models. Create a tenant"
            " (POST /v1/tenants) and use its key here."
        )
    if scope is not None and scope not in caller.scopes:
        raise NotPermitted(
            f"This key lacks the scope `{scope}`, which this request needs; it has"
            f" {', '.join(f'`{had}`' for had in sorted(caller.scopes))}.",
            code="missing_scope",
        )
    return caller.tenant_id


def _tenant(scope: str | None) -> Callable[..., Awaitable[str]]:
    async def of_request(request: Request, _: Annotated[object, Security(_bearer)]) -> str:
        return tenant_with(await identify(request), scope)

    return of_request


async def _administering(request: Request, _: Annotated[object, Security(_bearer)]) -> str | None:
    caller = await identify(request)
    return None if caller.is_admin else tenant_with(caller, ADMIN)


async def _admin(request: Request, _: Annotated[object, Security(_bearer)]) -> None:
    if not (await identify(request)).is_admin:
        raise NotPermitted("Only the administrator's key may manage tenants and keys.")


TenantId = Annotated[str, Depends(_tenant(None))]
"""Id of the tenant whose key was sent; the administrator's key is refused (403)."""

InferenceTenant = Annotated[str, Depends(_tenant(INFERENCE))]
"""The same, of a key that may ask models."""

TrainingTenant = Annotated[str, Depends(_tenant(TRAINING))]
"""The same, of a key that may make models: files, jobs, evaluations."""

TenantAdmin = Annotated[str, Depends(_tenant(ADMIN))]
"""The same, of a key that may manage the tenant's own keys and settings."""

Administering = Annotated[str | None, Depends(_administering)]
"""None for the platform's administrator; else the tenant whose key may manage it."""

Admin = Depends(_admin)
"""Only the administrator's key passes; to be put among a router's dependencies."""
