"""Deliveries: claimed by one gateway at a time, tried again until taken or given up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import WebhookDelivery, WebhookEndpoint
from tunesmith.platform.database.paging import Page, page
from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.domain.ids import random_text

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"

RETRY_SECONDS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Waits before the second to the tenth try, 3.1 days in all (Standard Webhooks' example)."""

JITTER = 0.2
"""Share by which a wait is longer at most, so that what failed together does not come together."""

AT_ONCE = 4
"""Most deliveries to one endpoint at a time: one that hangs must not hold up the others'."""

KEPT_SECONDS = 30 * 86400.0
"""How long what ended can still be looked at."""


@dataclass(frozen=True)
class Claim:
    """The right to send a delivery, proven by `token`."""

    seq: int
    token: str


@dataclass(frozen=True)
class Due:
    """A delivery under a claim, and the endpoint that it goes to."""

    claim: Claim
    event_id: str
    payload: dict[str, Any]
    endpoint: WebhookEndpoint


def is_any_due(session: Session) -> bool:
    """Whether something waits to be sent now; asked without a lock."""
    query = select(WebhookDelivery.seq).where(_free(now(session))).limit(1)
    return session.scalars(query).first() is not None


def claim_due(session: Session, limit: int, seconds: float) -> list[Due]:
    """Take up to `limit` deliveries whose time has come, for `seconds`."""
    moment = now(session)
    # Those that are being sent come first, so that they count among an endpoint's few.
    place = func.row_number().over(
        partition_by=WebhookDelivery.endpoint_id,
        order_by=(
            func.coalesce(WebhookDelivery.lease_expires_at, 0.0).desc(),
            WebhookDelivery.next_at,
        ),
    )
    ranked = (
        select(WebhookDelivery.seq, place.label("place"))
        .where(WebhookDelivery.status == PENDING, WebhookDelivery.next_at <= moment)
        .subquery()
    )
    rows = session.scalars(
        select(WebhookDelivery)
        .where(
            WebhookDelivery.seq.in_(select(ranked.c.seq).where(ranked.c.place <= AT_ONCE)),
            _free(moment),
        )
        .order_by(WebhookDelivery.next_at, WebhookDelivery.seq)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    due = []
    for row in rows:
        row.lease_token = random_text()
        row.lease_expires_at = moment + seconds
        endpoint = session.scalars(
            select(WebhookEndpoint).where(WebhookEndpoint.id == row.endpoint_id)
        ).one()
        due.append(Due(Claim(row.seq, row.lease_token), row.event_id, row.payload, endpoint))
    session.flush()
    return due


def held(session: Session, claim: Claim) -> WebhookDelivery | None:
    """The delivery under this claim, locked; None if the claim is lost."""
    return session.scalars(
        select(WebhookDelivery)
        .where(WebhookDelivery.seq == claim.seq, WebhookDelivery.lease_token == claim.token)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def taken(session: Session, claim: Claim, status: int) -> None:
    """The endpoint took it, with HTTP status `status`; nothing happens if the claim is lost."""
    row = held(session, claim)
    if row is None:
        return
    moment = now(session)
    row.attempts += 1
    row.status, row.delivered_at = DELIVERED, moment
    row.last_status, row.last_error = status, None
    row.lease_token = row.lease_expires_at = None
    session.flush()


def refused(session: Session, claim: Claim, status: int | None, why: str) -> None:
    """It was not taken: it is tried again later, or given up after the last try.

    Nothing happens if the claim is lost.

    Args:
        status: the HTTP status, if there was an answer.
    """
    row = held(session, claim)
    if row is None:
        return
    row.attempts += 1
    row.last_status, row.last_error = status, why
    row.lease_token = row.lease_expires_at = None
    if row.attempts > len(RETRY_SECONDS):
        row.status = FAILED
    else:
        wait = RETRY_SECONDS[row.attempts - 1]
        row.next_at = now(session) + wait * (1 + JITTER * random.random())  # noqa: S311
    session.flush()


def give_back(session: Session, claim: Claim) -> None:
    """Leave a delivery to whoever comes next, without counting a try."""
    row = held(session, claim)
    if row is not None:
        row.lease_token = row.lease_expires_at = None
        session.flush()


def list_deliveries(
    session: Session, endpoint: WebhookEndpoint, *, after: str | None = None, limit: int = 20
) -> Page[WebhookDelivery]:
    """What was sent to an endpoint, or will be, newest first.

    Raises:
        NotFound: `after` names no delivery of this endpoint.
        InvalidRequest: `limit` is out of range.
    """
    own = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id)
    after_seq = None
    if after is not None:
        after_seq = session.scalar(
            select(WebhookDelivery.seq).where(
                WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.id == after
            )
        )
        if after_seq is None:
            raise NotFound(f"The endpoint {endpoint.id} has no delivery {after!r}.", param="after")
    return page(session, own, WebhookDelivery.seq, after_seq=after_seq, limit=limit)


def forget_old(session: Session) -> int:
    """Delete what ended and is older than `KEPT_SECONDS`; how many there were."""
    old = and_(
        WebhookDelivery.status.in_((DELIVERED, FAILED)),
        WebhookDelivery.next_at < now(session) - KEPT_SECONDS,
    )
    return len(
        session.scalars(delete(WebhookDelivery).where(old).returning(WebhookDelivery.seq)).all()
    )


def _free(moment: float) -> Any:
    return and_(
        WebhookDelivery.status == PENDING,
        WebhookDelivery.next_at <= moment,
        or_(
            WebhookDelivery.lease_expires_at.is_(None),
            WebhookDelivery.lease_expires_at <= moment,
        ),
    )
