"""The outbox: what happened and whom to tell, written in the transaction in which it happened."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import WebhookDelivery, WebhookEndpoint
from tunesmith.platform.domain import ids

from .events import event


def announce(session: Session, tenant_id: str, event_type: str, object_id: str) -> None:
    """Have every endpoint of a tenant that asks for `event_type` told of an object's end.

    In the caller's transaction: if that is undone nothing is sent, and if it is done the gateways
    send until the endpoint has taken it or the tries are over.

    Args:
        event_type: one of `events.EVENT_TYPES`.
        object_id: of the job, evaluation or batch.
    """
    endpoints = session.scalars(
        select(WebhookEndpoint).where(
            WebhookEndpoint.tenant_id == tenant_id,
            WebhookEndpoint.deleted_at.is_(None),
            WebhookEndpoint.disabled_at.is_(None),
        )
    ).all()
    wanted = [endpoint for endpoint in endpoints if event_type in endpoint.events]
    if not wanted:
        return
    moment = now(session)
    event_id = ids.webhook_event_id()
    for endpoint in wanted:
        session.add(
            WebhookDelivery(
                id=ids.webhook_delivery_id(),
                endpoint_id=endpoint.id,
                event_id=event_id,
                event_type=event_type,
                payload=event(event_id, event_type, object_id, moment),
                next_at=moment,
                created_at=moment,
            )
        )
    session.flush()
