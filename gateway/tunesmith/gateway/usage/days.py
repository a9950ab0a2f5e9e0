"""Days and periods, as routes take them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator

from tunesmith.platform.domain.errors import InvalidRequest

MAX_DAYS = 366
"""Longest period of a list of usage."""

FIRST_DAY = date(1970, 1, 1)

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _parse_day(text: object) -> date | None:
    # `date` itself would also read a number as seconds since the epoch.
    if text is None:
        return None
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise ValueError("a day is written as 2026-01-31")
    day = date.fromisoformat(text)
    if day < FIRST_DAY:
        raise ValueError(f"there is nothing before {FIRST_DAY}")
    return day


Day = Annotated[date | None, BeforeValidator(_parse_day), Query(description="A day, UTC.")]


def today() -> date:
    """The day that it is (UTC)."""
    return datetime.now(UTC).date()


def period(start: date | None, end: date | None) -> tuple[date, date]:
    """The days that are asked about, or the last 30.

    Raises:
        InvalidRequest: the end is before the start, or there are too many.
    """
    last = end or today()
    first = start or max(FIRST_DAY, last - timedelta(days=29))
    check_order("start", first, "end", last)
    if (last - first).days >= MAX_DAYS:
        raise InvalidRequest(
            f"From {first} to {last} are more than {MAX_DAYS} days: ask for parts.", param="start"
        )
    return first, last


def check_order(first_name: str, first: date, last_name: str, last: date) -> None:
    """Refuse a period that ends before it begins.

    Raises:
        InvalidRequest: it does.
    """
    if first > last:
        raise InvalidRequest(
            f"`{first_name}` ({first}) is after `{last_name}` ({last}).", param=first_name
        )
