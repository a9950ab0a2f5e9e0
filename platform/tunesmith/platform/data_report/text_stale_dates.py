"""Answers that speak of a past date as of now: "as of 2021", "this year, 2019"."""

from __future__ import annotations

import datetime
import re

from .finding import Finding, Severity
from .normal_text import shortened
from .table import Table

YEARS = 2
"""A date more than this many years past is stale."""

_MONTH = (
    r"(?:jan(?:uary|uar|vier|\.)?|feb(?:ruary|ruar|\.)?|févr(?:ier|\.)|mar(?:ch|s|zo|\.)?|märz"
    r"|apr(?:il|\.)?|avril|abril|ma[iy]o?|june?|juni|juin|junio|jul[iy]o?|juillet|aug(?:ust|\.)?"
    r"|août|agosto|sept?(?:ember|embre|iembre|\.)?|[o0][ck]t(?:ober|obre|ubre|\.)?"
    r"|nov(?:ember|embre|iembre|\.)?|de[cz](?:ember|\.)?|décembre|diciembre|enero|febrero)"
)
_DAY = r"(?:\d{1,2}(?:st|nd|rd|th|er|\.)?)"
_YEAR = r"(?P<yearN>(?:19|20)\d\d)"
_DATE = (
    rf"(?:(?:the )?(?:end|start|beginning|middle|spring|summer|autumn|fall|winter) (?:of )?"
    rf"|(?:early|mid|late)[ -]|q[1-4] |{_DAY} (?:of |de )?{_MONTH},? (?:de |del )?"
    rf"|{_MONTH} {_DAY},? |{_MONTH},? (?:de |del )?|\d{{1,2}}[./]\d{{1,2}}[./]|\d{{1,2}}[./])?"
    rf"(?:(?P<isoN>(?:19|20)\d\d-[01]\d(?:-[0-3]\d)?)|{_YEAR})"
    r"(?![\d%€$,.]*\d)"
)

_BEFORE = (
    r"\bas (?:of|at|from) ",
    r"\bcurrent(?:ly)?,? (?:as of |in |for |to |\()?",
    r"\b(?:today|now|the (?:current )?(?:date|year)|it) is (?:now |currently )?",
    r"\bthis (?:year|month)(?: is| of|,)?,? \(?",
    r"\b(?:last |most recently |recently )?(?:updated|revised)(?: on| in|:)? ",
    r"\bup to date (?:as of|to|for) |\bcurrent as of ",
    r"\b(?:knowledge|training|data)(?: is)?[- ]?cut-?off(?: date)?(?: is| of| in|:)? ",
    r"\bvalid (?:until|through|till|to) |\b(?:offer|promotion|voucher)s? (?:ends?|expires?)"
    r"(?: on| in)? ",
    r"\b(?:latest|newest|most recent)(?: \w+){0,2} (?:of|from|in|for|as of) ",
    r"\b(?:now|today|presently|at present)[, ]+(?:in |\()",
    r"\b(?:stand|aktuell|derzeit|gegenwärtig|heute)(?:: | (?:im jahr|im|in|vom|am) | |, )",
    r"\bgültig bis(?: zum| ende)? |\bzum (?:jetzigen )?stand (?:vom )?",
    r"\b(?:actuellement|aujourd'hui|à ce jour)[, ]+(?:en |au |\()?|\bà jour (?:en|au) ",
    r"\b(?:valable|valide) jusqu'(?:au|en|à) ",
    r"\b(?:actualmente|hoy|en la actualidad)[, ]+(?:en |a |\()?|\ba fecha de |\bválido hasta ",
    r"\b(?:atualmente|hoje)[, ]+(?:em )?|\bválido até |\battualmente,? (?:nel )?|\bmomenteel in ",
)
_AFTER = r",? (?:is|being) (?:the )?(?:current|this) year\b"


def _dated(number: str) -> str:
    return _DATE.replace("N>", f"{number}>")


_STALE = re.compile(rf"(?:{'|'.join(_BEFORE)}){_dated('1')}|(?:in |since )?{_dated('2')}{_AFTER}")
_ANY_YEAR = re.compile(r"(?:19|20)\d\d")


def check_stale_dates(table: Table, today: datetime.date | None = None) -> list[Finding]:
    """One note about the answers that speak of a date more than two years past as of now.

    Args:
        today: the date that counts as now; without it the machine's, in UTC.
    """
    now = today or datetime.datetime.now(datetime.UTC).date()
    found = [
        (row, said)
        for row, answer in enumerate(table.answers)
        if _ANY_YEAR.search(answer) and (said := _stale(answer, table.inputs[row], now)) is not None
    ]
    if not found:
        return []
    row, said = found[0]
    return [
        Finding.of_rows(
            "stale_dates",
            Severity.NOTE,
            [table.lines[row] for row, _ in found],
            len(table),
            message=f"{len(found):,} answers speak of a date as current that is more than {YEARS}"
            " years past.",
            advice="Bring them up to date, or leave the date out: the model will repeat it.",
            example=f"{said!r} in: {shortened(table.answers[row], 200)}",
        )
    ]


def _stale(answer: str, asked: str, now: datetime.date) -> str | None:
    """The words that date an answer, if they are stale and nobody asked for that year."""
    for match in _STALE.finditer(answer.casefold().replace("\u2019", "'")):
        year = match["year1"] or match["year2"]
        iso = match["iso1"] or match["iso2"]
        if _end(year, iso) < _years_before(now) and (year or iso[:4]) not in asked:
            return match[0]
    return None


def _end(year: str | None, iso: str | None) -> datetime.date:
    """The last day that a year, month or day may mean."""
    if iso is None:
        return datetime.date(int(year or 0), 12, 31)
    numbers = [int(part) for part in iso.split("-")]
    month = min(max(numbers[1], 1), 12)
    last = 28 if len(numbers) < 3 else min(max(numbers[2], 1), 28)
    return datetime.date(numbers[0], month, last)


def _years_before(now: datetime.date) -> datetime.date:
    day = 28 if (now.month, now.day) == (2, 29) else now.day
    return now.replace(year=now.year - YEARS, day=day)
