"""What was used, added up by whatever is asked for, and what it costs by the price sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Job
from tunesmith.platform.database.models import Usage as UsageTable
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.job import JobStatus

from .counts import NOTHING, Counts
from .price_sheet import PriceSheet
from .stored import stored_in

DIMENSIONS = {
    "tenant": UsageTable.tenant_id,
    "day": UsageTable.day,
    "model": UsageTable.model,
    "alias": UsageTable.alias,
    "key": UsageTable.key_id,
}
"""What use can be added up by."""

MAX_LINES = 100_000
"""Most lines of a report: a month of a thousand models, by day, thrice."""


@dataclass
class Line:
    """Use that is added up.

    Attributes:
        names: what the line is of, by the dimensions that were asked for.
        cost: of what has a price; None where nothing has.
        is_priced: whether all of it has a price.
    """

    names: dict[str, str]
    counts: Counts = NOTHING
    training_tokens: int = 0
    cost: float | None = None
    is_priced: bool = True


@dataclass
class StoredLine:
    """Storage of a day, or of all days: by the dimensions `tenant` and `day` that were asked for.

    Attributes:
        bytes: the most that was there on the day; None where the line is of all days.
    """

    names: dict[str, str]
    bytes: int | None
    gib_months: float = 0.0
    cost: float | None = None
    is_priced: bool = True


@dataclass
class Report:
    """A tenant's use, or all tenants'; `unpriced_models` had use on days without a price."""

    start: date
    end: date
    group_by: tuple[str, ...]
    currency: str | None
    lines: list[Line] = field(default_factory=list)
    storage: list[StoredLine] = field(default_factory=list)
    unpriced_models: list[str] = field(default_factory=list)

    def total(self) -> Line:
        """All lines together, without storage."""
        total = Line({})
        for line in self.lines:
            total.counts = total.counts.plus(line.counts)
            total.training_tokens += line.training_tokens
            total.is_priced = total.is_priced and line.is_priced
        total.cost = _sum(line.cost for line in self.lines)
        return total

    def gib_months(self) -> float:
        """Storage of all days."""
        return sum(line.gib_months for line in self.storage)

    def cost(self) -> float | None:
        """Of all that has a price, storage too; None without a price sheet."""
        if self.currency is None:
            return None
        return (self.total().cost or 0.0) + (_sum(line.cost for line in self.storage) or 0.0)


def usage_report(
    session: Session,
    *,
    tenant_id: str | None,
    start: date,
    end: date,
    group_by: Sequence[str],
    key_id: str | None = None,
    sheet: PriceSheet | None = None,
) -> Report:
    """What a tenant (None: all) used from one day to another, both included.

    Args:
        group_by: some of `DIMENSIONS`; a line for each combination that there is.
        key_id: only of this key; training and storage, which are no key's, are left out.

    Raises:
        InvalidRequest: there are more than `MAX_LINES` lines.
    """
    names = tuple(name for name in DIMENSIONS if name in group_by)
    report = Report(start, end, names, None if sheet is None else sheet.currency)
    lines: dict[tuple[str, ...], Line] = {}
    unpriced: set[str] = set()
    found = _requests(session, tenant_id, start, end, key_id, names, sheet)
    if key_id is None:
        found = _both(found, _trainings(session, tenant_id, start, end))
    for of, day, counts, trained in found:
        key = tuple(of[name] for name in names)
        line = lines.setdefault(key, Line(dict(zip(names, key, strict=True))))
        if len(lines) > MAX_LINES:
            raise _too_many()
        line.counts = line.counts.plus(counts)
        line.training_tokens += trained
        if sheet is not None:
            price = sheet.of_model(of["model"], day)
            if price is None:
                line.is_priced = False
                unpriced.add(of["model"])
            else:
                line.cost = (line.cost or 0.0) + price.cost(counts, trained)
    # Sorted here: databases order texts by their own rules.
    report.lines = [lines[key] for key in sorted(lines)]
    report.unpriced_models = sorted(unpriced)
    if key_id is None:
        report.storage = _storage(session, tenant_id, start, end, names, sheet)
    return report


_Found = Iterator[tuple[dict[str, str], date, Counts, int]]


def _both(one: _Found, other: _Found) -> _Found:
    yield from one
    yield from other


def _requests(  # noqa: PLR0917 - what a report is asked for
    session: Session,
    tenant_id: str | None,
    start: date,
    end: date,
    key_id: str | None,
    names: tuple[str, ...],
    sheet: PriceSheet | None,
) -> _Found:
    """Sums by the database. Where there are prices: of every model, and of every span of them."""
    by = names if sheet is None or "model" in names else (*names, "model")
    columns: list[Any] = [DIMENSIONS[name] for name in by]
    sums = [func.sum(getattr(UsageTable, name)) for name in Counts._fields]
    for first, last in _spans(start, end, sheet):
        query = (
            select(*columns, *sums)
            .where(UsageTable.day.between(first.isoformat(), last.isoformat()))
            .limit(MAX_LINES + 1)
        )
        if columns:
            query = query.group_by(*columns)
        if tenant_id is not None:
            query = query.where(UsageTable.tenant_id == tenant_id)
        if key_id is not None:
            query = query.where(UsageTable.key_id == key_id)
        rows = session.execute(query).all()
        if len(rows) > MAX_LINES:
            raise _too_many()
        for row in rows:
            values = tuple(row)
            if values[-1] is None:  # the sum of nothing
                continue
            of = dict(zip(by, values, strict=False))
            yield of, first, Counts(*map(int, values[len(by) :])), 0


def _spans(start: date, end: date, sheet: PriceSheet | None) -> list[tuple[date, date]]:
    """First and last days in which no price changes."""
    firsts = [start] if sheet is None else sheet.changes(start, end)
    lasts = [day - timedelta(days=1) for day in firsts[1:]] + [end]
    return list(zip(firsts, lasts, strict=True))


def _trainings(session: Session, tenant_id: str | None, start: date, end: date) -> _Found:
    """Jobs that succeeded, on the day on which they did."""
    query = select(Job.tenant_id, Job.finished_at, Job.fine_tuned_model, Job.trained_tokens).where(
        Job.status == JobStatus.SUCCEEDED,
        Job.finished_at >= _midnight(start),
        Job.finished_at < _midnight(end) + 86_400,
        Job.trained_tokens > 0,
    )
    if tenant_id is not None:
        query = query.where(Job.tenant_id == tenant_id)
    for owner, finished_at, model, trained in session.execute(query):
        assert finished_at is not None, "the query asks for jobs that have ended"
        day = datetime.fromtimestamp(finished_at, UTC).date()
        of = {
            "tenant": owner,
            "day": day.isoformat(),
            "model": model or "",
            "alias": "",
            "key": "",
        }
        yield of, day, NOTHING, int(trained or 0)


def _storage(  # noqa: PLR0917 - what a report is asked for
    session: Session,
    tenant_id: str | None,
    start: date,
    end: date,
    names: tuple[str, ...],
    sheet: PriceSheet | None,
) -> list[StoredLine]:
    by = tuple(name for name in ("tenant", "day") if name in names)
    lines: dict[tuple[str, ...], StoredLine] = {}
    for first, last in _spans(start, end, sheet):
        price = None if sheet is None else sheet.of_storage(first)
        for stored in stored_in(session, tenant_id, first, last, by):
            key = tuple(stored.names.values())
            line = lines.setdefault(key, StoredLine(stored.names, 0 if "day" in by else None))
            if len(lines) > MAX_LINES:
                raise _too_many()
            if line.bytes is not None:
                line.bytes += stored.bytes
            line.gib_months += stored.gib_months
            if price is not None:
                line.cost = (line.cost or 0.0) + stored.gib_months * price.per_gib_month
            elif sheet is not None:
                line.is_priced = False
    return [lines[key] for key in sorted(lines)]


def _sum(costs: Iterator[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _too_many() -> InvalidRequest:
    return InvalidRequest(
        f"This report has more than {MAX_LINES:,} lines. Ask for fewer days, for one tenant, or"
        " with fewer names in `group_by`.",
        param="group_by",
    )
