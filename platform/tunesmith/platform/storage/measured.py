"""A backend whose calls are timed and whose failures are told, for whoever keeps figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import BinaryIO, Final

from .backend import Backend, Spool
from .errors import StorageFull, StorageUnavailable

OPERATIONS: Final = ("read", "open", "write", "size", "delete", "list")
ERRORS: Final = ("unavailable", "full")

Observe = Callable[[str, float, str | None], None]
"""Called with one of `OPERATIONS`, its seconds, and one of `ERRORS` where it failed."""


class MeasuredBackend:
    """`backend`, each of whose calls `observe` is told of."""

    def __init__(self, backend: Backend, observe: Observe) -> None:
        self._backend = backend
        self._observe = observe

    def spool(self) -> Spool:
        return _MeasuredSpool(self._backend.spool(), self)

    def read(self, key: str) -> bytes:
        with self.measured("read"):
            return self._backend.read(key)

    def open(self, key: str) -> BinaryIO:
        with self.measured("open"):
            return self._backend.open(key)

    def size(self, key: str) -> int:
        with self.measured("size"):
            return self._backend.size(key)

    def delete(self, key: str) -> None:
        with self.measured("delete"):
            self._backend.delete(key)

    def keys(self, prefix: str) -> list[str]:
        with self.measured("list"):
            return self._backend.keys(prefix)

    @contextmanager
    def measured(self, operation: str) -> Iterator[None]:
        """Tell how long the block took, and what storage could not do in it."""
        started = perf_counter()
        error: str | None = None
        try:
            yield
        except StorageFull:
            error = "full"
            raise
        except StorageUnavailable:
            error = "unavailable"
            raise
        finally:
            self._observe(operation, perf_counter() - started, error)


class _MeasuredSpool:
    """An object being written; its commit is the call that counts."""

    def __init__(self, spool: Spool, measured: MeasuredBackend) -> None:
        self._spool = spool
        self._measured = measured

    def write(self, data: bytes) -> None:
        self._spool.write(data)

    def commit(self, key: str) -> None:
        with self._measured.measured("write"):
            self._spool.commit(key)

    def discard(self) -> None:
        self._spool.discard()
