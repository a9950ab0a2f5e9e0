"""Excel sheets (.xlsx): the first one whose header names a pair or a preference."""

from __future__ import annotations

import datetime
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from .csv_rows import columns_of, read_row
from .errors import Problem, Refusal, Unreadable
from .example import Example
from .limits import CHUNK_BYTES, MAXIMUM_CELLS, MAXIMUM_EXAMPLE_BYTES, MAXIMUM_UNPACKED_BYTES
from .messages import shown
from .pairs import Choice, Pair, accepted_pairs
from .text import check_text

_SAVE = "Save the sheet as .xlsx without a password, or as CSV in UTF-8."
_DAMAGED = "the file is a damaged .xlsx file ({}). " + _SAVE
_SHARED = "xl/sharedStrings.xml"
_CELL = re.compile(rb"""\br=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_INDEX = re.compile(rb">\s*([0-9]{1,8})\s*<")
_ITEM = re.compile(rb"</(?:\w+:)?si\s*>|<(?:\w+:)?si\s*/>")
_OVERLAP = 64


def refuse_ole(head: bytes) -> str:
    """The sentence about an OLE file: an old sheet, or one that a password protects."""
    if "EncryptedPackage".encode("utf-16-le") in head:
        return f"the sheet is protected by a password. {_SAVE}"
    return f"the file is an old Excel sheet (.xls) or protected by a password. {_SAVE}"


def read_xlsx(path: Path) -> Iterator[Example | Problem]:
    """An example, or what is wrong, for each row with any text; `line` is the sheet's row.

    `path` must end in .xlsx, by which the library goes.

    Raises:
        Unreadable: now or while rows are read: it is damaged, encrypted, too large, another kind
            of file, or has no sheet with an accepted header.
    """
    _check_archive(path)
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            yield from _read_book(book)
    except CalamineError as error:
        raise Unreadable(Problem(None, _DAMAGED.format(str(error)[:200]))) from error


def _read_book(book: Any) -> Iterator[Example | Problem]:
    headers = []
    for name in book.sheet_names:
        rows = enumerate(book.get_sheet_by_name(name).iter_rows(), start=1)
        first = next(((n, row) for n, row in rows if any(map(_has_text, row))), None)
        if first is None:
            continue
        line, header = first[0], [_text(cell).strip() for cell in first[1]]
        columns = columns_of(header, line)
        if columns is not None:
            yield from _read_rows(rows, columns, header)
            return
        headers.append((name, header))
    if not headers:
        raise Unreadable(Problem(None, "the file has empty sheets alone. Add a header and rows."))
    found = "; ".join(
        f"{shown(name)} has {', '.join(shown(cell) for cell in header[:8] if cell)}"
        for name, header in headers[:4]
    )
    raise Unreadable(
        Problem(
            None,
            f"no sheet's first row names {accepted_pairs()}: {found}. Rename two columns.",
        )
    )


def _read_rows(
    rows: Iterable[tuple[int, list[Any]]], columns: Pair | Choice, header: list[str]
) -> Iterator[Example | Problem]:
    for line, row in rows:
        if not any(map(_has_text, row)):
            continue
        try:
            cells = [_text(cell) for cell in row]
            if sum(map(len, cells)) > MAXIMUM_EXAMPLE_BYTES:
                raise Refusal(f"the row is longer than {MAXIMUM_EXAMPLE_BYTES // 1024**2} MiB.")
            check_text(cells)
            yield read_row(line, cells, columns, header)
        except Refusal as refusal:
            yield Problem(line, str(refusal))


def _has_text(cell: Any) -> bool:
    return not isinstance(cell, str) or bool(cell.strip())


def _text(cell: Any) -> str:
    """A cell as a CSV file would have it."""
    if isinstance(cell, str):
        return cell.replace("\r\n", "\n")
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat(" ") if isinstance(cell, datetime.datetime) else cell.isoformat()
    return str(cell)


def _check_archive(path: Path) -> None:
    """Refuse what is no .xlsx file, and what would take too much memory to read.

    The reader holds a sheet as a full rectangle, and each cell's own copy of its text.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
            _check_kind(archive, names)
            if any(member.flag_bits & 1 for member in members):
                raise Unreadable(Problem(None, f"the file is encrypted. {_SAVE}"))
            if sum(member.file_size for member in members) > MAXIMUM_UNPACKED_BYTES:
                raise _too_large()
            lengths = _shared_lengths(archive) if _SHARED in names else []
            for member in members:
                if member.filename.endswith(".xml") and member.filename != _SHARED:
                    _check_sheet(archive, member, lengths)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise Unreadable(Problem(None, _DAMAGED.format(str(error)[:200]))) from error


def _check_kind(archive: zipfile.ZipFile, names: set[str]) -> None:
    if "xl/workbook.xml" in names:
        return
    if "mimetype" in names:
        kind = "an OpenDocument file (.ods)"
    elif "xl/workbook.bin" in names:
        kind = "a binary Excel sheet (.xlsb)"
    else:
        inside = ", ".join(shown(name) for name in archive.namelist()[:3]) or "nothing"
        raise Unreadable(
            Problem(None, f"the file is an archive ({inside}). Unpack it and upload what is in it.")
        )
    raise Unreadable(Problem(None, f"the file is {kind}. {_SAVE}"))


def _too_large() -> Unreadable:
    return Unreadable(
        Problem(
            None,
            f"the file unpacks to more than {MAXIMUM_UNPACKED_BYTES // 1024**2} MiB. Save the sheet"
            " as CSV in UTF-8.",
        )
    )


def _shared_lengths(archive: zipfile.ZipFile) -> list[int]:
    """The bytes of each shared text, markup included."""
    ends = [0, *(match.end() for match in _ITEM.finditer(archive.read(_SHARED)))]
    return [end - start for start, end in pairwise(ends)]


def _check_sheet(archive: zipfile.ZipFile, member: zipfile.ZipInfo, lengths: list[int]) -> None:
    """Read a member to its end, so that its size is known to be what the archive says."""
    columns = rows = text = 0
    before = b""
    with archive.open(member) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            seen = before + chunk
            for column, row in _CELL.findall(seen):
                columns = max(columns, _number(column))
                rows = max(rows, int(row))
            if lengths:
                text += sum(
                    lengths[number]
                    for number in map(int, _INDEX.findall(seen))
                    if number < len(lengths)
                )
            if text > MAXIMUM_UNPACKED_BYTES:
                raise _too_large()
            before = seen[-_OVERLAP:]
    if columns * rows > MAXIMUM_CELLS:
        raise Unreadable(
            Problem(
                None,
                f"a sheet reaches to row {rows:,} and column {columns:,}: more than"
                f" {MAXIMUM_CELLS:,} cells. Delete what is not needed, or save it as CSV in UTF-8.",
            )
        )


def _number(column: bytes) -> int:
    number = 0
    for letter in column:
        number = number * 26 + letter - 64
    return number
