"""Objects on their way into an archive and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from tunesmith.platform.storage import ObjectNotFound, Storage

from .archive import CHUNK_BYTES, Archive, Entry, object_key
from .errors import BackupFailed

T = TypeVar("T")
R = TypeVar("R")

THREADS: Final = 8
"""Copies at once: object stores answer slowly and in parallel."""

_LEFT_OUT: Final = ("health/",)  # marks of readiness probes
_REWRITTEN: Final = ("evaluations/probes/",)  # every other key keeps its content for good


class Copier:
    """Copies objects of `source` into `archive`, and knows what is there already.

    `known` are the entries of an earlier backup.
    """

    def __init__(self, source: Storage, archive: Archive, known: Iterable[Entry]) -> None:
        self._source = source
        self._archive = archive
        self._contents = archive.contents()
        self._known = {
            entry.key: entry
            for entry in known
            if entry.sha256 in self._contents and not entry.key.startswith(_REWRITTEN)
        }
        self.entries: dict[str, Entry] = {}
        self._written: list[int] = []

    @property
    def written_bytes(self) -> int:
        """Bytes that the archive did not have before."""
        return sum(self._written)

    def copy_all(self) -> set[str]:
        """Copy what is in storage and was not copied yet; the keys that are in storage."""
        keys = {key for key in self._source.list() if not key.startswith(_LEFT_OUT)}
        wanted = sorted(
            key for key in keys if key not in self.entries or key.startswith(_REWRITTEN)
        )
        for entry in _in_parallel(self._entry, wanted):
            if entry is not None:
                self.entries[entry.key] = entry
        return keys

    def _entry(self, key: str) -> Entry | None:
        return self._known.get(key) or self._copy(key)

    def _copy(self, key: str) -> Entry | None:
        """Copy an object; none where it was deleted before it was read."""
        try:
            with self._source.open_read(key) as source, self._archive.storage.writer() as out:
                while chunk := source.read(CHUNK_BYTES):
                    out.write(chunk)
                if out.sha256 not in self._contents:
                    out.commit(object_key(out.sha256))
                    self._written.append(out.size)
        except ObjectNotFound:
            return None
        return Entry(key, out.size, out.sha256)


def give_back(archive: Archive, entries: Iterable[Entry], target: Storage) -> None:
    """Write every object under its key again.

    Raises:
        BackupFailed: content is missing in the archive, or is not what its name says. Nothing of
            it was written under its key.
    """

    def one(entry: Entry) -> None:
        with _content(archive, entry) as chunks, target.writer() as out:
            for chunk in chunks:
                out.write(chunk)
            _compare(entry, out.sha256)
            out.commit(entry.key)

    for _ in _in_parallel(one, entries):
        pass


def check(archive: Archive, entries: Iterable[Entry]) -> None:
    """Read every object, and compare it with its digest.

    Raises:
        BackupFailed: content is missing, or is not what its name says.
    """

    def one(entry: Entry) -> None:
        digest = hashlib.sha256()
        with _content(archive, entry) as chunks:
            for chunk in chunks:
                digest.update(chunk)
        _compare(entry, digest.hexdigest())

    for _ in _in_parallel(one, {entry.sha256: entry for entry in entries}.values()):
        pass


@contextmanager
def _content(archive: Archive, entry: Entry) -> Iterator[Iterator[bytes]]:
    """The chunks of an entry's content."""
    key = object_key(entry.sha256)
    try:
        stream = archive.storage.open_read(key)
    except ObjectNotFound:
        raise BackupFailed(f"The backup lacks the content of {entry.key} ({key}).") from None
    with stream:
        yield iter(lambda: stream.read(CHUNK_BYTES), b"")


def _compare(entry: Entry, sha256: str) -> None:
    if sha256 != entry.sha256:
        raise BackupFailed(
            f"The backup's content of {entry.key} is damaged: its SHA-256 is {sha256}, not"
            f" {entry.sha256}. Use another backup."
        )


def _in_parallel(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    with ThreadPoolExecutor(THREADS, thread_name_prefix="backup") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
