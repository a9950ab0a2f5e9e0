"""Routes of webhooks' endpoints, as OpenAI's clients call them."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.audit.acting import Actor
from tunesmith.gateway.auth import TenantAdmin
from tunesmith.gateway.empty_body import MayBeEmpty
from tunesmith.gateway.idempotency import ONCE
from tunesmith.gateway.pages import After, Limit, ListOf, ListWithEnds
from tunesmith.gateway.resources import Parts
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.webhooks import deliveries, endpoints
from tunesmith.platform.webhooks.events import EVENT_TYPES, event

from .schemas import (
    CreateEndpoint,
    Delivery,
    Endpoint,
    EndpointDeleted,
    EndpointWithSecret,
    EventTypes,
    RotateSecret,
    SendTest,
    TestResult,
    UpdateEndpoint,
)

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=MayBeEmpty)


@router.get("/webhook_event_types")
def list_event_types(_: TenantAdmin) -> EventTypes:
    """All events that an endpoint can ask for."""
    return EventTypes(data=list(EVENT_TYPES))


@router.post("/webhook_endpoints", dependencies=[ONCE])
async def create_endpoint(
    body: CreateEndpoint, parts: Parts, tenant_id: TenantAdmin, actor: Actor
) -> EndpointWithSecret:
    """Create an endpoint. Its secret is shown this once."""
    await parts.webhooks.check(body.url)

    def create() -> EndpointWithSecret:
        with parts.database.transaction() as session:
            made = endpoints.create_endpoint(
                session, tenant_id, name=body.name, url=body.url, events=body.event_types
            )
            actor.note(session, "webhook_endpoint.created", made.id, detail={"url": body.url})
            return EndpointWithSecret.of(made)

    return await run_in_threadpool(create)


@router.get("/webhook_endpoints")
def list_endpoints(
    parts: Parts, tenant_id: TenantAdmin, after: After = None, limit: Limit = 20
) -> ListWithEnds[Endpoint]:
    """The tenant's endpoints, newest first."""
    with parts.database.reading() as session:
        page = endpoints.list_endpoints(session, tenant_id, after=after, limit=limit)
        data = [Endpoint.of(row) for row in page.items]
    return ListWithEnds(
        data=data,
        has_more=page.has_more,
    )


@router.get("/webhook_endpoints/{webhook_endpoint_id}")
def get_endpoint(webhook_endpoint_id: str, parts: Parts, tenant_id: TenantAdmin) -> Endpoint:
    """One of the tenant's endpoints."""
    with parts.database.reading() as session:
        return Endpoint.of(endpoints.get_endpoint(session, tenant_id, webhook_endpoint_id))


@router.post("/webhook_endpoints/{webhook_endpoint_id}")
async def update_endpoint(
    webhook_endpoint_id: str,
    body: UpdateEndpoint,
    parts: Parts,
    tenant_id: TenantAdmin,
    actor: Actor,
) -> Endpoint:
    """Change an endpoint; what is left out stays."""
    if body.url is not None:
        await parts.webhooks.check(body.url)

    def change() -> Endpoint:
        with parts.database.transaction() as session:
            changed = endpoints.change_endpoint(
                session,
                tenant_id,
                webhook_endpoint_id,
                name=body.name,
                url=body.url,
                events=body.event_types,
                enabled=None if body.status is None else body.status == "enabled",
            )
            detail = body.model_dump(exclude_unset=True)
            actor.note(session, "webhook_endpoint.updated", changed.id, detail=detail)
            return Endpoint.of(changed)

    return await run_in_threadpool(change)


@router.delete("/webhook_endpoints/{webhook_endpoint_id}")
def delete_endpoint(
    webhook_endpoint_id: str, parts: Parts, tenant_id: TenantAdmin, actor: Actor
) -> EndpointDeleted:
    """Delete an endpoint; what was not sent yet is not sent."""
    with parts.database.transaction() as session:
        endpoints.delete_endpoint(session, tenant_id, webhook_endpoint_id)
        actor.note(session, "webhook_endpoint.deleted", webhook_endpoint_id)
    return EndpointDeleted(id=webhook_endpoint_id)


@router.post("/webhook_endpoints/{webhook_endpoint_id}/rotate_secret")
def rotate_secret(
    webhook_endpoint_id: str,
    body: RotateSecret,
    parts: Parts,
    tenant_id: TenantAdmin,
    actor: Actor,
) -> EndpointWithSecret:
    """Give an endpoint a new secret, which is shown this once."""
    with parts.database.transaction() as session:
        rotated = endpoints.rotate_secret(
            session,
            tenant_id,
            webhook_endpoint_id,
            keep_old=body.keep_old_secret_active_for_24_hours,
        )
        actor.note(session, "webhook_endpoint.secret_rotated", webhook_endpoint_id)
        return EndpointWithSecret.of(rotated)


@router.post("/webhook_endpoints/{webhook_endpoint_id}/test")
async def send_test(
    webhook_endpoint_id: str, body: SendTest, parts: Parts, tenant_id: TenantAdmin
) -> TestResult:
    """Send a sample event now, once, and say what the endpoint answered."""

    def read() -> tuple[str, list[str], str]:
        with parts.database.reading() as session:
            row = endpoints.get_endpoint(session, tenant_id, webhook_endpoint_id)
            return row.url, endpoints.secrets_of(row, time.time()), row.events[0]

    url, signed_by, first = await run_in_threadpool(read)
    event_type = body.event_type or first
    sample = event(ids.webhook_event_id(), event_type, "test", time.time())
    outcome = await parts.webhooks.send(url, signed_by, sample)
    if outcome.status is None:
        raise InvalidRequest(
            f"The test could not be sent: {outcome.why}", param="url", code="webhook_not_sent"
        )
    return TestResult(
        webhook_endpoint_id=webhook_endpoint_id,
        event_type=event_type,
        status_code=outcome.status,
    )


@router.get("/webhook_endpoints/{webhook_endpoint_id}/deliveries")
def list_deliveries(
    webhook_endpoint_id: str,
    parts: Parts,
    tenant_id: TenantAdmin,
    after: After = None,
    limit: Limit = 20,
) -> ListOf[Delivery]:
    """What was sent to an endpoint, or will be, newest first; of the last 30 days."""
    with parts.database.reading() as session:
        endpoint = endpoints.get_endpoint(session, tenant_id, webhook_endpoint_id)
        page = deliveries.list_deliveries(session, endpoint, after=after, limit=limit)
        return ListOf(data=[Delivery.of(row) for row in page.items], has_more=page.has_more)
