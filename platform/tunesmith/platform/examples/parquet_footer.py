"""How large a Parquet file becomes in memory, from its footer, before anything is unpacked.

The footer is a Thrift struct in the compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), its fields are
those of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_TAIL = 8  # the footer's length and the magic number
_MAXIMUM_FOOTER = 16 * 1024 * 1024
_ROW_GROUPS, _COLUMNS, _ROWS, _META_DATA, _UNCOMPRESSED = 4, 1, 3, 3, 6


class RowGroup(NamedTuple):
    """Rows that are unpacked together, and the bytes that they take then."""

    rows: int
    unpacked: int


def row_groups(path: Path) -> list[RowGroup]:
    """The row groups of a Parquet file, as its footer states them.

    Raises:
        ValueError: the footer is damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        length = int.from_bytes(file.read(4), "little")
        if not 0 < length <= min(size - _TAIL, _MAXIMUM_FOOTER):
            raise ValueError("the footer's length is wrong")
        file.seek(size - _TAIL - length)
        footer = file.read(length)
    try:
        fields = _Compact(footer).struct()
        return [
            RowGroup(
                int(group[_ROWS]),
                sum(int(column[_META_DATA][_UNCOMPRESSED]) for column in group[_COLUMNS]),
            )
            for group in fields.get(_ROW_GROUPS, [])
        ]
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the footer is damaged") from error


class _Compact:
    """Reads Thrift's compact protocol; a struct becomes a dict from field number to value."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> dict[int, Any]:
        return dict(self._fields())

    def _fields(self) -> Iterator[tuple[int, Any]]:
        number = 0
        while (header := self._byte()) != 0:
            delta, kind = header >> 4, header & 0x0F
            number = number + delta if delta else self._signed()
            yield number, kind == 1 if kind in {1, 2} else self._value(kind)

    def _value(self, kind: int) -> Any:
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
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise IndexError(count)
        self._at += count
        return self._data[self._at - count : self._at]

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
