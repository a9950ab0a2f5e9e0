"""Creates that name an `Idempotency-Key`: the first answer is kept, and a repeat gets it.

A key belongs to a tenant and a route. Only what was created is kept: an error created nothing, so
that the same request is tried anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Idempotency
from tunesmith.platform.domain.errors import InvalidRequest

KEPT_SECONDS = 24 * 3600.0
"""How long an answer is kept; after that the key is new."""

ANSWERING_SECONDS = 120.0
"""After which a request that never ended is taken for lost with its gateway."""

_FORGOTTEN_AT_ONCE = 5
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True)
class Begun:
    """The right to answer a key for the first time, proven by the moment it was given."""

    tenant_id: str
    route: str
    key: str
    began_at: float


@dataclass(frozen=True)
class Kept:
    """The first answer: its HTTP status and its JSON."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Answering:
    """The first request with this key has no answer yet."""


def begin(
    session: Session,
    tenant_id: str,
    route: str,
    key: str,
    fingerprint: str,
    *,
    seconds: float = ANSWERING_SECONDS,
) -> Begun | Kept | Answering:
    """What a request with this key is: the first, a repeat, or one that comes too early.

    Args:
        fingerprint: of all that makes the request what it is, at most 64 characters.
        seconds: that the first may take.

    Raises:
        InvalidRequest: the key is none, or was used for another request.
    """
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            "The header `Idempotency-Key` must have 1 to 255 visible ASCII characters.",
            code="invalid_idempotency_key",
        )
    moment = now(session)
    _forget_some(session, moment)
    fresh = Idempotency(
        tenant_id=tenant_id,
        route=route,
        key=key,
        fingerprint=fingerprint,
        created_at=moment,
        expires_at=moment + seconds,
    )
    row = _row(session, tenant_id, route, key)
    if row is None:
        try:
            with session.begin_nested():
                session.add(fresh)
        except IntegrityError:  # another request was first, a moment ago
            row = _row(session, tenant_id, route, key)
        else:
            return Begun(tenant_id, route, key, moment)
    if row is None:  # that one failed, and let go of the key, another moment ago
        return Answering()
    if row.expires_at <= moment:
        row.fingerprint, row.status, row.body = fingerprint, None, None
        row.created_at, row.expires_at = moment, moment + seconds
        session.flush()
        return Begun(tenant_id, route, key, moment)
    if row.fingerprint != fingerprint:
        raise InvalidRequest(
            f"The idempotency key {key!r:.80} was used for another request within the last 24"
            " hours. Use a new key for a new request.",
            code="idempotency_key_reused",
        )
    if row.status is None or row.body is None:
        return Answering()
    return Kept(row.status, row.body)


def keep(session: Session, begun: Begun, status: int, body: dict[str, Any]) -> None:
    """Keep the first answer; nothing happens if it came so late that it was taken for lost."""
    row = _held(session, begun)
    if row is not None:
        row.status, row.body = status, body
        row.expires_at = now(session) + KEPT_SECONDS
        session.flush()


def let_go(session: Session, begun: Begun) -> None:
    """Nothing was created: the key is new again."""
    row = _held(session, begun)
    if row is not None:
        session.delete(row)
        session.flush()


def _forget_some(session: Session, moment: float) -> None:
    """Delete a few of the keys whose time is over: each create adds one at most."""
    key = tuple_(Idempotency.tenant_id, Idempotency.route, Idempotency.key)
    old = (
        select(Idempotency.tenant_id, Idempotency.route, Idempotency.key)
        .where(Idempotency.expires_at <= moment)
        .limit(_FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    for row in session.execute(old).all():
        session.execute(delete(Idempotency).where(key == tuple_(*row)))


def _row(session: Session, tenant_id: str, route: str, key: str) -> Idempotency | None:
    return session.scalars(
        select(Idempotency)
        .where(
            Idempotency.tenant_id == tenant_id, Idempotency.route == route, Idempotency.key == key
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def _held(session: Session, begun: Begun) -> Idempotency | None:
    row = _row(session, begun.tenant_id, begun.route, begun.key)
    return row if row is not None and row.created_at == begun.began_at else None
