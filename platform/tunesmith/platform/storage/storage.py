"""Objects under keys: a folder, S3, Google Cloud Storage or memory, by one URL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from .backend import Backend, Spool
from .errors import InvalidKey, ObjectNotFound, StorageMisconfigured
from .folder import FolderBackend
from .keys import check_key, check_prefix
from .measured import MeasuredBackend, Observe
from .objects import ObjectBackend


class ObjectWriter:
    """An object being written; `sha256` and `size` are those of what was written so far."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._hash = hashlib.sha256()
        self.size = 0
        self.committed = False

    @property
    def sha256(self) -> str:
        """SHA-256 in hex."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Append `data` and say how much that was: all of it."""
        if self.committed:
            raise ValueError("The object is committed; nothing can be added.")
        self._spool.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def commit(self, key: str) -> None:
        """Make the object visible under `key`, in place of one that was there."""
        if self.committed:
            raise ValueError("The object is committed already.")
        self._spool.commit(check_key(key))
        self.committed = True


class Storage:
    """Objects under keys such as `files/file-abc`, at `url`.

    `url` is a folder's path or file:// URL, s3://bucket/prefix (credentials and endpoint by the
    AWS_* variables), gs://bucket/prefix (needs the extra gcs) or memory://name (tests).

    Every method may raise `StorageUnavailable` and `InvalidKey`, and what writes `StorageFull`.
    An object is seen whole or not at all. Threads may share one; it can be pickled.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self._backend: Backend = _backend(self.url)

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.url,)

    def __repr__(self) -> str:
        return f"Storage({self.url!r})"

    def observe(self, observe: Observe) -> None:
        """Have `observe` told of every call from now on; a pickled copy tells nobody."""
        self._backend = MeasuredBackend(self._backend, observe)

    def put(self, key: str, data: bytes) -> None:
        """Write `data` under `key`, in place of what was there."""
        with self.writer(key) as writer:
            writer.write(data)

    def get(self, key: str) -> bytes:
        """The object's bytes; raises `ObjectNotFound`."""
        return self._backend.read(check_key(key))

    def open_read(self, key: str) -> BinaryIO:
        """The object as a stream, to be used in a `with`; raises `ObjectNotFound`."""
        return self._backend.open(check_key(key))

    def size(self, key: str) -> int:
        """The object's size in bytes; raises `ObjectNotFound`."""
        return self._backend.size(check_key(key))

    def exists(self, key: str) -> bool:
        """Whether there is an object under `key`."""
        try:
            self.size(key)
        except ObjectNotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        self._backend.delete(check_key(key))

    def delete_tree(self, prefix: str) -> None:
        """Remove all objects below the folder `prefix`, which must not be empty."""
        if not prefix:
            raise InvalidKey("Deleting all of storage takes more than an empty prefix.")
        for key in self.list(prefix):
            self._backend.delete(key)

    def list(self, prefix: str = "") -> list[str]:
        """Sorted keys below the folder `prefix`: `a` finds `a/b`, and neither `a` nor `ab`."""
        return self._backend.keys(check_prefix(prefix))

    @contextmanager
    def writer(self, key: str | None = None) -> Iterator[ObjectWriter]:
        """Write an object in pieces.

        It is committed under `key` when the block ends, or by `ObjectWriter.commit` where the key
        depends on the content; left by an exception, or without a key, it never was.
        """
        if key is not None:
            check_key(key)
        spool = self._backend.spool()
        try:
            writer = ObjectWriter(spool)
            yield writer
            if key is not None and not writer.committed:
                writer.commit(key)
        finally:
            spool.discard()


def _backend(url: str) -> Backend:
    if "://" not in url:
        return FolderBackend(Path(url).expanduser().absolute())
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return FolderBackend(Path(unquote(parts.path)))
    if parts.scheme == "memory":
        return ObjectBackend("memory", f"{parts.netloc}{parts.path}")
    if parts.scheme in ("s3", "gs") and parts.netloc and not (parts.query or parts.fragment):
        return ObjectBackend(parts.scheme, f"{parts.netloc}{parts.path}")
    raise StorageMisconfigured(
        f"Storage cannot be at {url!r}: use a folder's path, file:///folder, s3://bucket/prefix or"
        " gs://bucket/prefix. What speaks S3 is named by AWS_ENDPOINT_URL; any other store, Azure's"
        " for one, can be mounted as a folder that all processes share."
    )
