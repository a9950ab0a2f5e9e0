"""Parquet: the columns of a pair or of a preference, or chats as lists of messages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import Problem, Refusal, Unreadable
from .example import Example, FileFormat
from .json_rows import ObjectRow, parse_json, read_objects
from .limits import (
    MAXIMUM_CELLS,
    MAXIMUM_EXAMPLE_BYTES,
    MAXIMUM_TEXT_BYTES,
    MAXIMUM_UNPACKED_BYTES,
)
from .messages import shown
from .pairs import ACCEPTED_NAMES, CHOICE, accepted_pairs, find_choice, find_pair
from .parquet_footer import row_groups

_BATCH = 1000
_BATCH_BYTES = 4 * MAXIMUM_EXAMPLE_BYTES  # a character has at most four bytes
_WORD = 8
_REQUIRED = (
    "messages",
    "input",
    "preferred_output",
    "non_preferred_output",
    "preferred",
    "rejected",
)
_OPTIONAL = ("tools", "functions", "parallel_tool_calls")
_DAMAGED = "the file is damaged Parquet ({}). Write it again, or save it as JSONL."


def read_parquet(path: Path) -> tuple[FileFormat, Iterator[Example | Problem]]:
    """The format of a Parquet file, and its rows as examples or problems; rows count from 1.

    Raises:
        Unreadable: now or while rows are read: it is damaged, encrypted, too large, or has no
            column to learn from.
    """
    import polars as pl
    from polars.exceptions import PanicException, PolarsError

    try:
        _check_size(path)
        frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = dict(frame.collect_schema())
    except (PolarsError, PanicException, ValueError, OSError) as error:
        raise Unreadable(Problem(None, _sentence(path, error))) from error
    wanted = _wanted(schema)
    form = FileFormat.PAIR_PARQUET
    if "messages" in wanted:
        form = FileFormat.CHAT_PARQUET
    return form, read_objects(_objects(path, frame.select(wanted)))


def _objects(path: Path, frame: Any) -> Iterator[ObjectRow]:
    """The rows as JSON objects, `_BATCH` of them at a time; a row that is none as a refusal."""
    from polars.exceptions import PanicException, PolarsError

    number = total = 0
    try:
        for batch in frame.collect_batches(chunk_size=_BATCH, maintain_order=True, lazy=True):
            for row in _rows(batch):
                number += 1
                try:
                    size = MAXIMUM_EXAMPLE_BYTES + 1 if row is None else _size(row)
                    total += size
                    if row is None or size > MAXIMUM_EXAMPLE_BYTES:
                        raise Refusal(
                            f"the row is longer than {MAXIMUM_EXAMPLE_BYTES // 1024**2} MiB, more"
                            " than any model can read at once. Split it or remove it."
                        )
                    plain: dict[str, Any] | Refusal = _plain_row(row)
                except Refusal as refusal:
                    plain = refusal
                if total > MAXIMUM_TEXT_BYTES:
                    raise Unreadable(
                        Problem(
                            number,
                            f"the rows so far hold more than {MAXIMUM_TEXT_BYTES // 1024**3} GiB of"
                            " text. Split the file.",
                        )
                    )
                yield ObjectRow(number, plain)
    except (PolarsError, PanicException) as error:
        raise Unreadable(Problem(number + 1, _sentence(path, error))) from error


def _rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    """The rows as Python's values, few of long ones at a time; None for one that is far too long.

    Parquet keeps a text that rows repeat once, so a few kilobytes can name any length of rows; the
    bytes that they would take are known without making them.
    """
    size = sum(_bytes(column) for column in batch.get_columns())
    if size <= _BATCH_BYTES:
        yield from batch.iter_rows(named=True)
    elif batch.height == 1:
        yield None
    else:
        half = batch.height // 2
        yield from _rows(batch[:half])
        yield from _rows(batch[half:])


def _bytes(column: Any) -> int:
    """About what a column's values take as Python's: their texts, and a word for each of them."""
    import polars as pl

    kind = column.dtype
    if isinstance(kind, pl.Struct):
        return sum((_bytes(column.struct.field(field.name)) for field in kind.fields), 0)
    if isinstance(kind, pl.List | pl.Array):
        return _WORD * int(column.len()) + _bytes(column.explode())
    texts = 0
    if isinstance(kind, pl.String):
        texts = column.str.len_bytes().sum()
    elif isinstance(kind, pl.Categorical | pl.Enum):
        texts = column.cat.len_bytes().sum()
    return _WORD * int(column.len()) + int(texts)


def _check_size(path: Path) -> None:
    for number, group in enumerate(row_groups(path), start=1):
        most = max(group.rows, group.values)
        if group.unpacked > MAXIMUM_UNPACKED_BYTES or most > MAXIMUM_CELLS:
            raise Unreadable(
                Problem(
                    None,
                    f"row group {number} of the file holds {most:,} values and unpacks to"
                    f" {group.unpacked / 1024**2:,.0f} MiB; at most {MAXIMUM_CELLS:,} values and"
                    f" {MAXIMUM_UNPACKED_BYTES // 1024**2} MiB are read at a time. Write the file"
                    " with smaller row groups.",
                )
            )


def _sentence(path: Path, error: BaseException) -> str:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, 2)
        encrypted = b"PARE" in {head, file.read(4)}
    reason = str(error).partition("\n")[0][:200]
    if encrypted or "ncrypt" in reason:
        return "the file is encrypted Parquet. Upload it without encryption."
    return _DAMAGED.format(reason)


def _wanted(schema: dict[str, Any]) -> list[str]:
    """The columns that examples are made of; the others are never read.

    Raises:
        Unreadable: there are none, one is there twice, or one has values that are no text.
    """
    names = list(schema)
    try:
        choice, pair = find_choice(names), find_pair(names)
    except Refusal as refusal:
        raise Unreadable(Problem(None, str(refusal))) from refusal
    known = {*_REQUIRED, *_OPTIONAL}
    wanted = [name for name in names if name in known or name.strip().lower() in ACCEPTED_NAMES]
    structured = "messages" in names or "preferred_output" in names
    if not structured and choice is None and pair is None:
        found = ", ".join(shown(name) for name in names[:12]) or "none"
        raise Unreadable(
            Problem(
                None,
                f"there is no column `messages`, and no {accepted_pairs()} either; the columns are:"
                f" {found}. Rename two of them.",
            )
        )
    if structured:
        wanted = [name for name in wanted if name in known]
    for name in wanted:
        _check_type(
            name, schema[name], text=not structured and name not in known - {*CHOICE, "input"}
        )
    return wanted


def _check_type(name: str, kind: Any, *, text: bool) -> None:
    import polars as pl

    plain = isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null)
    chat = name.strip().lower() in CHOICE and isinstance(kind, pl.List)
    if (text and not plain and not chat) or not _is_json(kind):
        must = "text" if text else "text, lists and structs of text"
        raise Unreadable(
            Problem(
                None,
                f"the column {shown(name)} holds values of the type {str(kind)[:80]}, and must hold"
                f" {must}. Convert it.",
            )
        )


def _is_json(kind: Any) -> bool:
    """Whether values of a type can be written as JSON."""
    import polars as pl

    if isinstance(kind, pl.List | pl.Array):
        return _is_json(kind.inner)
    if isinstance(kind, pl.Struct):
        return all(_is_json(field.dtype) for field in kind.fields)
    return isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null | pl.Boolean) or bool(
        kind.is_integer() or kind.is_float()
    )


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON would hold it.

    A struct has every field in every row, null where JSON would leave it out. A null text is an
    empty one. Tools whose schemas differ are often kept as text that is JSON.
    """
    plain: dict[str, Any] = {}
    structured = "messages" in row or "preferred_output" in row
    for name, value in row.items():
        if value is None:
            if not structured:
                plain[name] = ""
            elif name in _REQUIRED:
                plain[name] = None
        elif structured and isinstance(value, str):
            try:
                plain[name] = parse_json(value)
            except Refusal as refusal:
                raise Refusal(
                    f"`{name}` is text that is no JSON. Write a list of structs, or JSON."
                ) from refusal
        else:
            plain[name] = _without_nulls(value)
    return plain


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal("a number is not finite. Use a number or null.")
    return value


def _size(value: Any) -> int:
    """The characters of all texts in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 1
