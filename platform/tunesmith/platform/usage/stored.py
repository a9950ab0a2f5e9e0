"""What tenants have in storage, sampled: of every day, the most that was seen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, case, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Adapter, File, Model, StoredBytes

GIB = 2**30
DAYS_PER_MONTH = 365.25 / 12


class Stored(NamedTuple):
    """Bytes of days added up, of each day the most that was seen; `names` says of what."""

    names: dict[str, str]
    bytes: int

    @property
    def gib_months(self) -> float:
        """Each day's part of a month (365.25 / 12 days), for each 2^30 bytes."""
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


def stored_in(
    session: Session, tenant_id: str | None, start: date, end: date, by: Sequence[str] = ()
) -> list[Stored]:
    """What a tenant (None: each) had from one day to another, both included.

    Args:
        by: some of "tenant" and "day"; one sum for each combination that there is.
    """
    columns: list[Any] = [{"tenant": StoredBytes.tenant_id, "day": StoredBytes.day}[n] for n in by]
    query = select(*columns, func.sum(StoredBytes.bytes)).where(
        StoredBytes.day.between(start.isoformat(), end.isoformat())
    )
    if columns:
        query = query.group_by(*columns)
    if tenant_id is not None:
        query = query.where(StoredBytes.tenant_id == tenant_id)
    return [
        Stored(dict(zip(by, names, strict=True)), int(size))
        for *names, size in session.execute(query)
        if size is not None  # the sum of nothing
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
