"""What a request asks a report of, and the report as JSON or CSV."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import StreamingResponse

from tunesmith.gateway.resources import Resources
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.usage.price_sheet import read_price_sheet
from tunesmith.platform.usage.report import DIMENSIONS, usage_report

from .days import period
from .schemas import Usage
from .table import csv_of

GroupBy = Annotated[
    list[str] | None,
    Query(
        description="What the lines are of: some of day, model, alias, key (and tenant, for the"
        " administrator), repeated or with commas."
    ),
]
KeyId = Annotated[str | None, Query(description="Only of this key.")]
Format = Annotated[
    Literal["json", "csv"] | None, Query(description="Else by the header `Accept`: JSON.")
]
CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The report, as JSON or CSV.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}

_OWN = tuple(name for name in DIMENSIONS if name != "tenant")


def answer(
    request: Request,
    parts: Resources,
    *,
    tenant_id: str | None,
    start: date | None,
    end: date | None,
    group_by: list[str] | None,
    key_id: str | None,
    form: Literal["json", "csv"] | None,
    known: tuple[str, ...] = _OWN,
    default: tuple[str, ...] = ("day", "model", "alias"),
) -> Usage | StreamingResponse:
    """The report that is asked for, with costs where the setting `price_sheet` is set.

    Raises:
        InvalidRequest: the period or `group_by` is wrong, or there are too many lines.
    """
    first, last = period(start, end)
    names = _names(group_by, known) or default
    path = parts.settings.price_sheet
    sheet = None if path is None else read_price_sheet(path)
    with parts.database.reading() as session:
        report = usage_report(
            session,
            tenant_id=tenant_id,
            start=first,
            end=last,
            group_by=names,
            key_id=key_id,
            sheet=sheet,
        )
    if form != "csv" and (form == "json" or not _prefers_csv(request)):
        return Usage.of(report)
    return StreamingResponse(
        csv_of(report),
        media_type="text/csv",
        headers={"content-disposition": f'attachment; filename="usage-{first}-{last}.csv"'},
    )


def _names(group_by: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    named = [name.strip() for text in group_by or () for name in text.split(",")]
    for name in named:
        if name not in known:
            raise InvalidRequest(
                f"`group_by` takes {', '.join(known)}; not {name[:80]!r}.",
                param="group_by",
                code="invalid_value",
            )
    return tuple(named)


def _prefers_csv(request: Request) -> bool:
    wanted = request.headers.get("accept", "").split(",")[0]
    return wanted.partition(";")[0].strip().lower() == "text/csv"
