"""CSV: a header that names the columns of a pair or of a preference, then one example a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from .errors import Problem, Refusal, Unreadable
from .example import Example
from .limits import MAXIMUM_EXAMPLE_BYTES
from .lines import Line
from .messages import shown
from .pairs import Choice, Pair, accepted_pairs, find_choice, find_pair, pair_messages
from .preferences import read_cells

DELIMITERS = (",", ";", "\t")
"""Tried in this order: spreadsheets write `;` where the comma is a decimal sign, and tabs."""


class CsvReader:
    """Rows of cells with the physical line on which each starts.

    Iterating raises `Unreadable` at broken quoting, since what follows it cannot be told apart.
    """

    def __init__(self, lines: Iterable[Line], delimiter: str) -> None:
        self._lines = iter(lines)
        self._row_length = 0
        self.line = 0  # on which the current row starts
        # The module's limit is global, and 128 KiB by default: raise it, never lower it.
        csv.field_size_limit(max(csv.field_size_limit(), MAXIMUM_EXAMPLE_BYTES))
        self._reader = csv.reader(self._feed(), delimiter=delimiter, strict=True)

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        self._row_length = 0
        try:
            return next(self._reader)
        except csv.Error as error:
            raise Unreadable(Problem(self.line, self._sentence(str(error)))) from error

    def _feed(self) -> Iterator[str]:
        for number, text in self._lines:
            if "\0" in text:
                raise Unreadable(
                    Problem(
                        number,
                        "the line holds a NUL byte: the file is damaged, or not a text file. Save"
                        " it as CSV in UTF-8.",
                    )
                )
            if not self._row_length:
                self.line = number
            self._row_length += len(text)
            if self._row_length > MAXIMUM_EXAMPLE_BYTES:
                raise Unreadable(
                    Problem(
                        self.line,
                        f"the row that starts here is longer than"
                        f" {MAXIMUM_EXAMPLE_BYTES // 1024**2} MiB: most likely a quote that it"
                        ' opens is never closed. Close it, or write it as "" inside a cell.',
                    )
                )
            yield text

    def _sentence(self, error: str) -> str:
        if "unexpected end of data" in error:
            return (
                "a quote that is opened in the row that starts here is never closed. Close it, or"
                ' write it as "" inside a cell.'
            )
        if "expected after" in error:
            return (
                "text follows the closing quote of a cell in the row that starts here. Put the"
                ' whole cell in quotes, and write a quote inside it as "".'
            )
        if "new-line character" in error:
            return (
                "the row holds a bare carriage return: the lines end in the old Macintosh way, or"
                " a cell with a line break lacks its quotes. Save the file with Unix or Windows"
                " line ends."
            )
        return f"the row that starts here is not valid CSV: {error}."


def detect_delimiter(header: str) -> str | None:
    """The delimiter with which the header's first line names an accepted pair, if any does."""
    for delimiter in DELIMITERS:
        try:
            if _find_columns(_header_cells(header, delimiter)) is not None:
                return delimiter
        except Refusal:
            return delimiter  # a pair is there, and a column twice: said when it is read
    return None


def likely_delimiter(header: str) -> str:
    """The delimiter that splits a header without an accepted pair into most cells."""
    return max(DELIMITERS, key=lambda delimiter: len(_header_cells(header, delimiter)))


def read_csv_rows(lines: Iterable[Line], delimiter: str) -> Iterator[Example | Problem]:
    """An example, or what is wrong, for each row; rows without any text are skipped."""
    rows = CsvReader(lines, delimiter)
    header = next((row for row in rows if _has_text(row)), None)
    if header is None:
        raise Unreadable(Problem(None, "the file has empty cells alone. Add a header and rows."))
    columns = _columns(header, rows.line)
    names = [name.strip() for name in header]
    for row in rows:
        if not _has_text(row):
            continue
        if len(row) != len(header):
            yield Problem(
                rows.line,
                f"the row has {_cells(row)} and the header {_cells(header)}. Put a cell that holds"
                f" {_SPOKEN[delimiter]} or a line break in double quotes.",
            )
            continue
        try:
            yield read_row(rows.line, [_newlines(cell) for cell in row], columns, names)
        except Refusal as refusal:
            yield Problem(rows.line, str(refusal))


def missing_columns(header: list[str]) -> str:
    """The sentence for a header without an accepted pair."""
    found = ", ".join(shown(name.strip()) for name in header[:12])
    return (
        f"the header names no {accepted_pairs()}; its columns are: {found}. Rename two of them, or"
        " let the upload do it: `tunesmith files upload FILE --column OLD=prompt --column"
        " OTHER=completion`."
    )


_SPOKEN = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def _find_columns(header: list[str]) -> Pair | Choice | None:
    """A preference's columns, or else a pair's: a completion beside two answers is one of them."""
    return find_choice(header) or find_pair(header)


def columns_of(header: list[str], line: int) -> Pair | Choice | None:
    """The columns that a table's header in `line` names; None where it names none.

    Raises:
        Unreadable: it names one twice.
    """
    try:
        return _find_columns(header)
    except Refusal as refusal:
        raise Unreadable(Problem(line, str(refusal))) from refusal


def _columns(header: list[str], line: int) -> Pair | Choice:
    columns = columns_of(header, line)
    if columns is None:
        raise Unreadable(Problem(line, missing_columns(header)))
    return columns


def read_row(line: int, cells: list[str], columns: Pair | Choice, names: list[str]) -> Example:
    """The example of a table's row.

    Raises:
        Refusal: a cell that is needed is empty, or both answers are the same.
    """
    if isinstance(columns, Choice):
        return read_cells(line, cells, columns, names)
    system = None if columns.system is None else cells[columns.system]
    prompt, completion = cells[columns.prompt], cells[columns.completion]
    named = (names[columns.prompt], names[columns.completion])
    return Example(line, pair_messages(prompt, completion, system, named))


def _header_cells(header: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:  # said when the file is read
        return []


def _cells(row: list[str]) -> str:
    return "1 cell" if len(row) == 1 else f"{len(row)} cells"


def _has_text(row: list[str]) -> bool:
    return any(cell.strip() for cell in row)


def _newlines(cell: str) -> str:
    # Line ends inside a cell are the file's, not the text's: requests come with line feeds.
    return cell.replace("\r\n", "\n")
