"""Every check of how answers are written: missing, cut off, refused, misspelt, out of date."""

from __future__ import annotations

from .finding import Finding
from .table import Table
from .text_cut_off import check_cut_off
from .text_empty import check_empty
from .text_language import check_language, majority_language
from .text_refusals import check_refusals
from .text_script import check_script, other_script_rows
from .text_stale_dates import check_stale_dates
from .text_typos import check_typos


def check_texts(table: Table) -> list[Finding]:
    """The findings about the answers' texts, each check's in the order of the file.

    Of preferences only the preferred answer is looked at: a rejected one may well be bad.
    """
    other_script = other_script_rows(table)
    language = majority_language(table.answers)
    return [
        *check_empty(table),
        *check_cut_off(table),
        *check_script(table, other_script),
        *check_language(table, language, frozenset(other_script)),
        *check_refusals(table),
        *check_typos(table, language),
        *check_stale_dates(table),
    ]
