"""Files that are no text: told by their first bytes, and given a path for libraries that seek."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from .limits import CHUNK_BYTES
from .lines import SupportsRead

PARQUET = (b"PAR1", b"PARE")
ZIP = b"PK\x03\x04"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Of .xls sheets, and of .xlsx sheets that a password protects."""


class Peeked:
    """A stream whose first bytes were looked at; it reads as if they had not been."""

    def __init__(self, stream: SupportsRead) -> None:
        self._stream = stream
        self._start = self._position()
        self.head = b""
        while len(self.head) < len(OLE) and (data := stream.read(CHUNK_BYTES)):
            self.head += data
        self._unread = BytesIO(self.head)

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self._unread.read(size) or self._stream.read(size)

    @contextmanager
    def on_disk(self, ending: str) -> Iterator[Path]:
        """All of it as a file whose name ends in `ending`, at the latest deleted at the end.

        A link to the file that is read, or where there is none a copy.
        """
        own = self._own_path()
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
            copy = Path(folder) / f"upload{ending}"
            if own is not None:
                copy.symlink_to(own)
                yield copy
                return
            with copy.open("wb") as target:
                while data := self.read(CHUNK_BYTES):
                    target.write(data)
            yield copy

    def _position(self) -> int | None:
        tell: Any = getattr(self._stream, "tell", None)
        try:
            return None if tell is None else int(tell())
        except (OSError, ValueError):  # a pipe
            return None

    def _own_path(self) -> Path | None:
        """The path of an open file that is read from its start, if it still leads there."""
        name = getattr(self._stream, "name", None)
        descriptor: Any = getattr(self._stream, "fileno", None)
        if not isinstance(name, str) or descriptor is None or self._start != 0:
            return None
        try:
            here, there = os.fstat(descriptor()), os.stat(name)
        except (OSError, ValueError):
            return None
        same = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
        return Path(name) if same and os.path.isabs(name) else None
