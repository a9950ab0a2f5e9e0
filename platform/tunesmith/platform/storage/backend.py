"""What a kind of storage has to do."""

from __future__ import annotations

from typing import BinaryIO, Protocol


class Spool(Protocol):
    """An object being written, which nobody sees before `commit`."""

    def write(self, data: bytes) -> None:
        """Append `data`."""
        ...

    def commit(self, key: str) -> None:
        """Make all that was written visible under `key`, at once and durably."""
        ...

    def discard(self) -> None:
        """Let go of everything that belongs to the spool; after a commit, what is left over."""
        ...


class Backend(Protocol):
    """Objects under keys that `Storage` has checked; raises the errors of this package alone."""

    def spool(self) -> Spool:
        """Begin an object."""
        ...

    def read(self, key: str) -> bytes:
        """All of an object, or `ObjectNotFound`."""
        ...

    def open(self, key: str) -> BinaryIO:
        """An object as a stream, or `ObjectNotFound`."""
        ...

    def size(self, key: str) -> int:
        """Bytes of an object, or `ObjectNotFound`."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Keys below the folder `prefix` (all where empty), sorted."""
        ...
