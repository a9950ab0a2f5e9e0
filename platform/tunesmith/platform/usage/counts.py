"""What keys used of models, added up by day (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Usage

_KEY = ("tenant_id", "key_id", "model", "alias", "day")
_COUNTS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens")


class UsageKey(NamedTuple):
    """Who used what, named how (`alias` is empty where none was), on which day (ISO)."""

    tenant_id: str
    key_id: str
    model: str
    alias: str
    day: str


class Counts(NamedTuple):
    """Requests that were answered, and their tokens as the engine reported them.

    `cached_tokens` are those of the prompt tokens that an engine had computed before.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


NOTHING = Counts(0, 0, 0)


@dataclass(frozen=True)
class UsageRow:
    """A day's use of a model under one name, of all keys asked about."""

    day: date
    model: str
    alias: str
    counts: Counts


def add_usage(session: Session, used: Mapping[UsageKey, Counts]) -> None:
    """Add counts to what is there; gateways that do so at once lose nothing of each other's."""
    # In one order everywhere: two gateways that took the same rows crosswise would deadlock.
    rows: list[dict[str, Any]] = [
        {**key._asdict(), **counts._asdict()} for key, counts in sorted(used.items())
    ]
    if rows:
        session.connection().execute(_upsert(session.get_bind().dialect.name), rows)


def usage_of(
    session: Session, tenant_id: str, start: date, end: date, key_id: str | None = None
) -> list[UsageRow]:
    """A tenant's use from one day to another, both included, in the order of days and models.

    Args:
        key_id: only of this key.
    """
    sums = [func.sum(getattr(Usage, name)) for name in _COUNTS]
    wanted = (
        select(Usage.day, Usage.model, Usage.alias, *sums)
        .where(Usage.tenant_id == tenant_id)
        .where(Usage.day.between(start.isoformat(), end.isoformat()))
        .group_by(Usage.day, Usage.model, Usage.alias)
    )
    if key_id is not None:
        wanted = wanted.where(Usage.key_id == key_id)
    # Sorted here: databases order texts by their own rules.
    return [
        UsageRow(date.fromisoformat(day), model, alias, Counts(*map(int, counts)))
        for day, model, alias, *counts in sorted(tuple(row) for row in session.execute(wanted))
    ]


def _upsert(dialect: str) -> Any:
    table = cast("Table", Usage.__table__)
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={name: table.c[name] + statement.excluded[name] for name in _COUNTS},
    )
