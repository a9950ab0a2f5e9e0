"""How large a Parquet file becomes in memory, before anything is unpacked.

The footer says so, and may lie; the header of each page says what a reader makes room for, and is
believed where it says more. Both are Thrift structs in the compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md); their fields:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_TAIL = 8  # the footer's length and the magic number
_MAXIMUM_FOOTER = 16 * 1024 * 1024
_MAXIMUM_FOOTER_VALUES = 2_000_000
_MAXIMUM_HEADER = 64 * 1024
_MAXIMUM_PAGES = 100_000  # a writer's pages have a mebibyte

_ROW_GROUPS, _COLUMNS, _ROWS, _META_DATA, _UNCOMPRESSED = 4, 1, 3, 3, 6
_COMPRESSED, _DATA_OFFSET, _DICTIONARY_OFFSET = 7, 9, 11
_PAGE_UNCOMPRESSED, _PAGE_COMPRESSED, _PAGE_KINDS = 2, 3, (5, 7, 8)


class RowGroup(NamedTuple):
    """Rows that are unpacked together, the bytes that they take then, and a column's values."""

    rows: int
    unpacked: int
    values: int


def row_groups(path: Path) -> list[RowGroup]:
    """The row groups of a Parquet file; `values` is that of the column that has most.

    Raises:
        ValueError: the footer or a page's header is damaged, or there are too many pages.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        length = int.from_bytes(file.read(4), "little")
        if not 0 < length <= min(size - _TAIL, _MAXIMUM_FOOTER):
            raise ValueError("the footer's length is wrong")
        file.seek(size - _TAIL - length)
        footer = file.read(length)
        pages = _Pages(file, size)
        try:
            fields = _Compact(footer).struct()
            return [_row_group(group, pages) for group in fields.get(_ROW_GROUPS, [])]
        except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("the footer is damaged") from error


def _row_group(group: dict[int, Any], pages: _Pages) -> RowGroup:
    unpacked = values = 0
    for column in group[_COLUMNS]:
        facts = column[_META_DATA]
        start = facts.get(_DICTIONARY_OFFSET, facts[_DATA_OFFSET])
        in_pages, of_column = pages.look(start, start + facts[_COMPRESSED])
        unpacked += max(int(facts[_UNCOMPRESSED]), in_pages)
        values = max(values, of_column)
    return RowGroup(int(group[_ROWS]), unpacked, values)


class _Pages:
    """The headers of a file's pages."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._seen = 0

    def look(self, start: int, end: int) -> tuple[int, int]:
        """The bytes that the pages of a column unpack to, and their values."""
        unpacked = values = 0
        while start < min(end, self._size):
            self._seen += 1
            if self._seen > _MAXIMUM_PAGES:
                raise ValueError(f"it has more than {_MAXIMUM_PAGES:,} pages")
            self._file.seek(start)
            header = _Compact(self._file.read(_MAXIMUM_HEADER))
            fields = header.struct()
            packed, page = int(fields[_PAGE_COMPRESSED]), int(fields[_PAGE_UNCOMPRESSED])
            if packed < 0 or page < 0:
                raise ValueError("a page's size is negative")
            unpacked += page
            values += sum(fields[kind].get(1, 0) for kind in _PAGE_KINDS if kind in fields)
            start += header.at + packed
        return unpacked, values


class _Compact:
    """Reads Thrift's compact protocol; a struct becomes a dict from field number to value."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._values = 0
        self.at = 0

    def struct(self) -> dict[int, Any]:
        return dict(self._fields())

    def _fields(self) -> Iterator[tuple[int, Any]]:
        number = 0
        while (header := self._byte()) != 0:
            delta, kind = header >> 4, header & 0x0F
            number = number + delta if delta else self._signed()
            yield number, kind == 1 if kind in {1, 2} else self._value(kind)

    def _value(self, kind: int) -> Any:
        self._values += 1
        if self._values > _MAXIMUM_FOOTER_VALUES:  # each is an object, however few bytes it had
            raise ValueError(f"the footer has more than {_MAXIMUM_FOOTER_VALUES:,} values")
        if kind in {1, 2, 3}:  # a boolean in a list, a byte
            return self._byte()
        if kind in {4, 5, 6}:  # integers
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in {9, 10}:  # a list, a set
            header = self._byte()
            count = header >> 4
            count = self._unsigned() if count == 0x0F else count
            return [self._value(header & 0x0F) for _ in range(count)]
        if kind == 12:
            return self.struct()
        raise KeyError(kind)  # a map, which Parquet's footer does not have

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        if self.at + count > len(self._data):
            raise IndexError(count)
        self.at += count
        return self._data[self.at - count : self.at]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
