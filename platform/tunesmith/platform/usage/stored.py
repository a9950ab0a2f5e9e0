"""What tenants have in storage, sampled: of every day, the most that was seen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, case, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Adapter, File, Model, StoredBytes

GIB = 2**30
DAYS_PER_MONTH = 365.25 / 12


class StoredDay(NamedTuple):
    """The most bytes that a tenant was seen to have in storage on a day (UTC)."""

    tenant_id: str
    day: date
    bytes: int

    @property
    def gib_months(self) -> float:
        """The day's part of a month (365.25 / 12 days), for each 2^30 bytes."""
        return self.bytes / GIB / DAYS_PER_MONTH


def sample(session: Session, day: date) -> int:
    """Write down what every tenant has in storage now; how many tenants have anything.

    The greater figure of a day stays, so that it does not matter how many gateways do this, and
    how often.
    """
    stored = Counter[str]()
    moment = time.time()
    in_files = (
        select(File.tenant_id, func.sum(File.bytes))
        .where(File.deleted_at.is_(None), or_(File.expires_at.is_(None), File.expires_at > moment))
        .group_by(File.tenant_id)
    )
    own = (
        select(Model.tenant_id, Model.adapter_digest)
        .where(Model.deleted_at.is_(None))
        .distinct()
        .subquery()
    )
    in_adapters = (
        select(own.c.tenant_id, func.sum(Adapter.bytes))
        .join(Adapter, Adapter.digest == own.c.adapter_digest)
        .group_by(own.c.tenant_id)
    )
    for query in (in_files, in_adapters):
        for tenant_id, size in session.execute(query):
            stored[tenant_id] += int(size)
    rows = [
        {"tenant_id": tenant_id, "day": day.isoformat(), "bytes": size}
        for tenant_id, size in sorted(stored.items())
    ]
    if rows:
        session.connection().execute(_greater(session.get_bind().dialect.name), rows)
    return len(rows)


def stored_by_day(
    session: Session, tenants: str | None, start: date, end: date
) -> Iterable[StoredDay]:
    """What a tenant (None: each) had from one day to another, both included, oldest first."""
    query = (
        select(StoredBytes.tenant_id, StoredBytes.day, StoredBytes.bytes)
        .where(StoredBytes.day.between(start.isoformat(), end.isoformat()))
        .order_by(StoredBytes.day, StoredBytes.tenant_id)
    )
    if tenants is not None:
        query = query.where(StoredBytes.tenant_id == tenants)
    return [
        StoredDay(tenant_id, date.fromisoformat(day), int(size))
        for tenant_id, day, size in session.execute(query)
    ]


def _greater(dialect: str) -> Any:
    table = cast("Table", StoredBytes.__table__)
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table)
    new = statement.excluded["bytes"]
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "day"],
        set_={"bytes": case((new > table.c.bytes, new), else_=table.c.bytes)},
    )
