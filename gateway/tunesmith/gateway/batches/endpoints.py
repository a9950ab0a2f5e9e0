"""Routes of batches."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.auth import InferenceTenant, identify
from tunesmith.gateway.idempotency import ONCE
from tunesmith.gateway.json_body import JsonRoute
from tunesmith.gateway.pages import After, Limit, ListWithEnds
from tunesmith.gateway.resources import Parts
from tunesmith.platform.batches import creation, reading

from .schemas import Batch, CreateBatch

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=JsonRoute)


@router.post("", dependencies=[ONCE])
async def create_batch(
    body: CreateBatch, request: Request, parts: Parts, tenant_id: InferenceTenant
) -> Batch:
    """Answer the requests of a file within a day, at low priority."""
    key_id = (await identify(request)).key_id

    def create() -> Batch:
        with parts.database.transaction() as session:
            return Batch.of(creation.create_batch(session, tenant_id, key_id, body.to_request()))

    return await run_in_threadpool(create)


@router.get("")
def list_batches(
    parts: Parts,
    tenant_id: InferenceTenant,
    after: After = None,
    limit: Limit = 20,
) -> ListWithEnds[Batch]:
    """The tenant's batches, newest first."""
    with parts.database.reading() as session:
        page = reading.list_batches(session, tenant_id, after=after, limit=limit)
        data = [Batch.of(row) for row in page.items]
    return ListWithEnds(
        data=data,
        has_more=page.has_more,
    )


@router.get("/{batch_id}")
def get_batch(batch_id: str, parts: Parts, tenant_id: InferenceTenant) -> Batch:
    """One of the tenant's batches."""
    with parts.database.reading() as session:
        return Batch.of(reading.get_batch(session, tenant_id, batch_id))


@router.post("/{batch_id}/cancel")
def cancel_batch(batch_id: str, parts: Parts, tenant_id: InferenceTenant) -> Batch:
    """End a batch early: what is answered by then is kept."""
    with parts.database.transaction() as session:
        return Batch.of(reading.cancel_batch(session, tenant_id, batch_id))
