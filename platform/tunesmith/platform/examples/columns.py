"""Renaming a CSV's columns before it is uploaded: `--column ticket=prompt`."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from tunesmith.platform.domain.errors import InvalidRequest

from .binary import PARQUET, ZIP
from .csv_rows import DELIMITERS, CsvReader
from .errors import ExamplesError, Problem, Unreadable
from .lines import Line, read_lines
from .messages import shown
from .pairs import ACCEPTED_NAMES

_ACCEPTED = ", ".join(sorted(ACCEPTED_NAMES))


def parse_column_options(options: Sequence[str]) -> dict[str, str]:
    """`["ticket=prompt", ...]` as a mapping from a column of the file to an accepted name.

    Raises:
        InvalidRequest: an option is not of that form, or two name the same column.
    """
    mapping: dict[str, str] = {}
    for option in options:
        old, equals, new = option.rpartition("=")
        old, new = old.strip(), new.strip().lower()
        if not equals or not old or new not in ACCEPTED_NAMES:
            raise InvalidRequest(
                f"--column {option}: write it as OLD=NEW, where NEW is one of {_ACCEPTED}."
            )
        if old in mapping or new in mapping.values():
            raise InvalidRequest(f"--column {option}: the column {old} or {new} is named twice.")
        mapping[old] = new
    return mapping


@contextmanager
def renamed_columns(
    path: Path, mapping: Mapping[str, str], *, lenient: bool = False
) -> Iterator[Path]:
    """A copy of the CSV at `path`, of the same name, with its header renamed by `mapping`.

    Without a mapping it is `path` itself, of any format. Only the header is rewritten: every other
    byte is copied as it is. The copy is deleted at the end of the block.

    Args:
        lenient: a file whose header does not fit, or that is no CSV, is left as it is.

    Raises:
        ExamplesError: the file cannot be read as CSV, or its header does not fit `mapping`.
    """
    found = None
    if mapping:
        try:
            found = _new_header(path, mapping)
        except ExamplesError:
            if not lenient:
                raise
    if found is None:
        yield path
        return
    header, rest = found
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        copy = Path(folder) / path.name
        with path.open("rb") as source, copy.open("wb") as target:
            target.write(header)
            source.seek(rest)
            shutil.copyfileobj(source, target, 1024 * 1024)
        yield copy


def _new_header(path: Path, mapping: Mapping[str, str]) -> tuple[bytes, int]:
    """The renamed header, and the offset of the first byte after the old one."""
    consumed: list[Line] = []

    def lines(source: Iterator[Line]) -> Iterator[Line]:
        for line in source:
            consumed.append(line)
            yield line

    with path.open("rb") as stream:
        if stream.read(4).startswith((*PARQUET, ZIP)):
            raise ExamplesError(
                path.name,
                [Problem(None, "only a CSV's columns can be renamed. Rename them in the file.")],
            )
        stream.seek(0)
        bom = 3 if stream.read(3) == b"\xef\xbb\xbf" else 0
        found: list[str] = []
        for delimiter in DELIMITERS:
            stream.seek(bom)
            consumed.clear()
            try:
                rows = CsvReader(lines(read_lines(stream)), delimiter)
                cells = next((row for row in rows if any(map(str.strip, row))), [])
            except Unreadable as error:
                raise ExamplesError(path.name, [error.problem]) from error
            names = [cell.strip() for cell in cells]
            if all(_position(names, old) is not None for old in mapping):
                start = sum(len(line.text.encode()) for line in consumed)
                renamed = _rename(path.name, rows.line, names, mapping)
                return _write_row(renamed, delimiter, consumed[-1].text), bom + start
            found = max(found, names, key=len)
    missing = ", ".join(shown(old) for old in mapping if _position(found, old) is None)
    columns = ", ".join(map(shown, found)) or "none"
    raise ExamplesError(
        path.name,
        [Problem(None, f"there is no column {missing} to rename; the columns are: {columns}.")],
    )


def _position(names: list[str], name: str) -> int | None:
    """Where `name` is: exactly, or else in any case."""
    if name in names:
        return names.index(name)
    lowered = [n.lower() for n in names]
    return lowered.index(name.lower()) if name.lower() in lowered else None


def _rename(filename: str, line: int, names: list[str], mapping: Mapping[str, str]) -> list[str]:
    new_names = dict(zip((_position(names, old) for old in mapping), mapping.values(), strict=True))
    renamed = [new_names.get(index, name) for index, name in enumerate(names)]
    for new in mapping.values():
        if sum(name.lower() == new for name in renamed) > 1:
            raise ExamplesError(
                filename,
                [Problem(line, f"there is a column named {new} already. Rename that one first.")],
            )
    return renamed


def _write_row(cells: list[str], delimiter: str, last_line: str) -> bytes:
    out = StringIO()
    end = "\r\n" if last_line.endswith("\r\n") else "\n"
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerow(cells)
    return out.getvalue().encode()
