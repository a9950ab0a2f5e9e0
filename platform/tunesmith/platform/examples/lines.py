"""A byte stream as numbered lines of text, in memory bounded by the longest allowed line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from .errors import Problem, Unreadable
from .limits import CHUNK_BYTES, MAXIMUM_EXAMPLE_BYTES

_BOM = b"\xef\xbb\xbf"


class SupportsRead(Protocol):
    """Anything that bytes can be read from: a file, an upload, an object in storage."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


class Line(NamedTuple):
    """A physical line: its number from 1, and its text with its line end."""

    number: int
    text: str


def read_lines(stream: SupportsRead, limit: int = MAXIMUM_EXAMPLE_BYTES) -> Iterator[Line]:
    """Lines of a UTF-8 `stream`, split at line feeds alone, a byte order mark left out.

    Raises:
        Unreadable: a line is longer than `limit` bytes, or is not UTF-8.
    """
    offset = 0
    for number, raw in enumerate(_split(stream, limit), start=1):
        bom = len(_BOM) if number == 1 and raw.startswith(_BOM) else 0
        try:
            text = raw[bom:].decode()
        except UnicodeDecodeError as error:
            raise Unreadable(_not_utf8(number, offset + bom + error.start, raw, error)) from error
        yield Line(number, text)
        offset += len(raw)


def _split(stream: SupportsRead, limit: int) -> Iterator[bytes]:
    number = 1
    pending: list[bytes] = []  # of one line that spans chunks: joined once, not at every chunk
    length = 0
    while chunk := stream.read(CHUNK_BYTES):
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        length += len(first)
        for piece in rest:
            if length > limit:
                break
            yield b"".join(pending) + b"\n"
            number += 1
            pending = [piece]
            length = len(piece)
        if length > limit:
            raise Unreadable(
                Problem(
                    number,
                    f"the line is longer than {limit // 1024**2} MiB, more than any model can"
                    " read at once. Each example must be one line; split it or remove it.",
                )
            )
    if length:
        yield b"".join(pending)


def _not_utf8(number: int, offset: int, raw: bytes, error: UnicodeDecodeError) -> Problem:
    byte = error.object[error.start]
    return Problem(
        number,
        f"not UTF-8: byte 0x{byte:02x} at offset {offset:,} of the file. Save the file as UTF-8"
        f" ({_encoding_hint(raw)}).",
    )


def _encoding_hint(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        return "it looks like UTF-16: `iconv -f UTF-16 -t UTF-8 OLD > NEW`"
    return "it may be Windows-1252: `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`"
