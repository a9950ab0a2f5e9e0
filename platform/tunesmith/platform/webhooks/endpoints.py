"""A tenant's endpoints: where it wants to be told of which events."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import WebhookDelivery, WebhookEndpoint
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound

from .deliveries import FAILED, PENDING, Claim, held
from .signing import new_secret

MAX_ENDPOINTS = 20
"""Most endpoints of a tenant: each is another request for each event."""

OVERLAP_SECONDS = 24 * 3600.0
"""How long an old secret goes on signing after a rotation that keeps it (OpenAI's 24 hours)."""


def create_endpoint(
    session: Session, tenant_id: str, *, name: str, url: str, events: Sequence[str]
) -> WebhookEndpoint:
    """A new endpoint with a new secret. The URL was checked by the caller.

    Raises:
        InvalidRequest: the tenant has `MAX_ENDPOINTS` already.
    """
    lock_name(session, f"webhooks {tenant_id}")  # two at once must not both be the last
    count = session.scalar(select(func.count()).select_from(_own(tenant_id).subquery())) or 0
    if count >= MAX_ENDPOINTS:
        raise InvalidRequest(
            f"A tenant has at most {MAX_ENDPOINTS} webhook endpoints; delete one first.",
            code="too_many_webhook_endpoints",
        )
    moment = now(session)
    endpoint = WebhookEndpoint(
        id=ids.webhook_endpoint_id(),
        tenant_id=tenant_id,
        name=name,
        url=url,
        events=list(events),
        secret=new_secret(),
        created_at=moment,
        updated_at=moment,
    )
    session.add(endpoint)
    session.flush()
    return endpoint


def get_endpoint(session: Session, tenant_id: str, endpoint_id: str) -> WebhookEndpoint:
    """A tenant's endpoint.

    Raises:
        NotFound: it does not exist, was deleted, or is another tenant's.
    """
    found = session.scalars(_own(tenant_id).where(WebhookEndpoint.id == endpoint_id)).one_or_none()
    if found is None:
        raise NotFound(f"No webhook endpoint {endpoint_id!r} exists.", param="webhook_endpoint_id")
    return found


def list_endpoints(
    session: Session, tenant_id: str, *, after: str | None = None, limit: int = 20
) -> Page[WebhookEndpoint]:
    """A tenant's endpoints, newest first.

    Raises:
        NotFound: `after` names no endpoint of this tenant.
        InvalidRequest: `limit` is out of range.
    """
    after_seq = get_endpoint(session, tenant_id, after).seq if after else None
    return page(session, _own(tenant_id), WebhookEndpoint.seq, after_seq=after_seq, limit=limit)


def change_endpoint(
    session: Session,
    tenant_id: str,
    endpoint_id: str,
    *,
    name: str | None = None,
    url: str | None = None,
    events: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> WebhookEndpoint:
    """Change what is given. What waits to be sent goes to the new URL; disabling gives it up.

    Raises:
        NotFound: no such endpoint of this tenant.
    """
    endpoint = _locked(session, tenant_id, endpoint_id)
    before = (endpoint.name, endpoint.url, endpoint.events, endpoint.disabled_at)
    endpoint.name = name if name is not None else endpoint.name
    endpoint.url = url if url is not None else endpoint.url
    endpoint.events = list(events) if events is not None else endpoint.events
    if enabled is True:
        endpoint.disabled_at = None
    elif enabled is False and endpoint.disabled_at is None:
        disable(session, endpoint, "The endpoint was disabled.")
    if before != (endpoint.name, endpoint.url, endpoint.events, endpoint.disabled_at):
        endpoint.updated_at = now(session)
    session.flush()
    return endpoint


def rotate_secret(
    session: Session, tenant_id: str, endpoint_id: str, *, keep_old: bool
) -> WebhookEndpoint:
    """Give an endpoint a new secret; with `keep_old` both sign for `OVERLAP_SECONDS`.

    Raises:
        NotFound: no such endpoint of this tenant.
    """
    endpoint = _locked(session, tenant_id, endpoint_id)
    moment = now(session)
    endpoint.old_secret = endpoint.secret if keep_old else None
    endpoint.old_secret_until = moment + OVERLAP_SECONDS if keep_old else None
    endpoint.secret = new_secret()
    endpoint.updated_at = moment
    session.flush()
    return endpoint


def secrets_of(endpoint: WebhookEndpoint, moment: float) -> list[str]:
    """The secrets that sign at `moment` (seconds), the newest first."""
    kept = endpoint.old_secret
    if kept is None or moment >= (endpoint.old_secret_until or 0.0):
        return [endpoint.secret]
    return [endpoint.secret, kept]


def delete_endpoint(session: Session, tenant_id: str, endpoint_id: str) -> None:
    """Delete an endpoint; what was not sent yet is not sent.

    Raises:
        NotFound: no such endpoint of this tenant.
    """
    endpoint = _locked(session, tenant_id, endpoint_id)
    endpoint.deleted_at = now(session)
    _give_up(session, endpoint, "The endpoint was deleted.")


def disable(session: Session, endpoint: WebhookEndpoint, why: str) -> None:
    """Send nothing more to an endpoint until its tenant enables it again."""
    endpoint.disabled_at = endpoint.updated_at = now(session)
    _give_up(session, endpoint, why)


def answered_gone(session: Session, claim: Claim) -> None:
    """An endpoint answered a delivery with 410 Gone, so it is disabled (Standard Webhooks).

    Nothing happens if the claim is lost.
    """
    # The endpoint is locked before its deliveries, as everywhere.
    endpoint = session.scalars(
        select(WebhookEndpoint)
        .join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
        .where(WebhookDelivery.seq == claim.seq)
        .with_for_update(of=WebhookEndpoint)
    ).one_or_none()
    row = held(session, claim)
    if endpoint is None or row is None:
        return
    row.attempts += 1
    row.last_status = HTTPStatus.GONE
    session.flush()
    disable(session, endpoint, "The endpoint answered 410 Gone and was disabled.")


def _give_up(session: Session, endpoint: WebhookEndpoint, why: str) -> None:
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.status == PENDING)
        .values(status=FAILED, last_error=why, lease_token=None, lease_expires_at=None)
    )
    session.flush()


def _own(tenant_id: str) -> Select[WebhookEndpoint]:
    return select(WebhookEndpoint).where(
        WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.deleted_at.is_(None)
    )


def _locked(session: Session, tenant_id: str, endpoint_id: str) -> WebhookEndpoint:
    get_endpoint(session, tenant_id, endpoint_id)  # another tenant's row is not even locked
    found = session.scalars(
        _own(tenant_id)
        .where(WebhookEndpoint.id == endpoint_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:  # deleted while this waited for the lock
        return get_endpoint(session, tenant_id, endpoint_id)
    return found
