"""Storage behind fsspec: S3, Google Cloud Storage, and memory for tests."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from .errors import ObjectNotFound, StorageFull, StorageMisconfigured, StorageUnavailable
from .folder import os_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_IN_MEMORY_BYTES: Final = 16 * 1024**2
_READ_BLOCK_BYTES: Final = 8 * 1024**2

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "s3": {
        # s3fs tries anew what botocore gave up on: 5 times 5 tries would take minutes.
        "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 4}},
    }
}

_PACKAGES: Final = {"gs": ("gcsfs", "tunesmith[gcs]"), "s3": ("s3fs", "s3fs")}

_FULL_CODES: Final = frozenset(
    {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage"}
    | {"507"}
)

_FOREIGN: Final = frozenset({"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google"})


class ObjectBackend:
    """Objects under a prefix of a bucket.

    An object appears when its one PUT, or the completion of its multipart upload, succeeds; stores
    promise that as one step, so nothing is written under another name and moved.
    """

    def __init__(self, protocol: str, root: str) -> None:
        self._protocol = protocol
        self._root = root.strip("/")
        self._filesystem: Any = None
        self._process = 0

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, made on first use and anew in a forked process."""
        if self._filesystem is None or self._process != os.getpid():
            import fsspec

            options = dict(_OPTIONS.get(self._protocol, {}))
            if self._protocol != "memory":
                # Others write too: a cached listing would hide what they wrote.
                options |= {"use_listings_cache": False, "skip_instance_cache": True}
            try:
                self._filesystem = fsspec.filesystem(self._protocol, **options)
            except ImportError as error:
                package, requirement = _PACKAGES[self._protocol]
                raise StorageMisconfigured(
                    f"Storage at {self._protocol}:// needs the package {package}, which cannot be"
                    f" imported here ({error}): pip install '{requirement}'."
                ) from error
            if self._protocol == "s3":
                self._filesystem.retries = 2
            self._process = os.getpid()
        return self._filesystem

    def path(self, key: str) -> str:
        """Where fsspec finds the object."""
        return "/".join(part for part in (self._root, key) if part)

    def spool(self) -> ObjectSpool:
        """A temporary file on this machine, uploaded whole when it is committed.

        Streaming straight into a multipart upload would need the key at the start, and a
        content-addressed key is known at the end.
        """
        return ObjectSpool(self)

    def read(self, key: str) -> bytes:
        with self.errors(f"read {key}", key):
            return bytes(self.filesystem.cat_file(self.path(key)))

    def open(self, key: str) -> BinaryIO:
        with self.errors(f"read {key}", key):
            self._file_info(key)
            stream = self.filesystem.open(self.path(key), "rb", block_size=_READ_BLOCK_BYTES)
        return io.BufferedReader(_ObjectReader(self, key, stream), 1024 * 1024)

    def size(self, key: str) -> int:
        with self.errors(f"look up {key}", key):
            return int(self._file_info(key)["size"])

    def delete(self, key: str) -> None:
        try:
            with self.errors(f"delete {key}", key):
                self.filesystem.rm_file(self.path(key))
        except ObjectNotFound:
            return

    def keys(self, prefix: str) -> list[str]:
        top = self.path(prefix)
        try:
            with self.errors(f"list {prefix or 'objects'}", prefix):
                names: list[str] = self.filesystem.find(top)
        except ObjectNotFound:
            return []
        below = top + "/" if top else ""
        skipped = len(self._root) + 1 if self._root else 0
        plain = (name.strip("/") for name in names if not name.endswith("/"))
        return sorted(name[skipped:] for name in plain if name.startswith(below))

    def _file_info(self, key: str) -> dict[str, Any]:
        # Not `isfile` or `exists`: those answer "no" to a store that cannot be reached.
        info: dict[str, Any] = self.filesystem.info(self.path(key))
        if info["type"] != "file":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        return info

    def no_bucket(self, action: str) -> StorageUnavailable:
        """The error where the bucket itself is missing."""
        bucket = self._root.split("/")[0]
        return StorageUnavailable(
            f"Could not {action}: there is no bucket {bucket}. Create it, or correct the storage"
            " URL."
        )

    @contextmanager
    def errors(self, action: str, key: str) -> Iterator[None]:
        """Turn what fsspec and its drivers raise into storage's own errors."""
        try:
            yield
        except Exception as error:
            code, status = _response(error)
            if code in _FULL_CODES or status == 507 or _is_no_space(error):
                raise StorageFull(
                    f"Could not {action}: storage has no space or quota left."
                ) from error
            if code == "NoSuchBucket":
                raise self.no_bucket(action) from error
            if isinstance(error, FileNotFoundError | IsADirectoryError):
                raise ObjectNotFound(f"Storage holds no object {key}.") from error
            if isinstance(error, PermissionError):
                raise StorageUnavailable(
                    f"Could not {action}: storage refuses access ({_words(error)}). Check the"
                    " credentials and the bucket's policy."
                ) from error
            if isinstance(error, OSError) or type(error).__module__.split(".")[0] in _FOREIGN:
                raise StorageUnavailable(f"Could not {action}: {_words(error)}.") from error
            raise


class ObjectSpool:
    """A temporary file that no folder lists for long: small ones stay in memory."""

    def __init__(self, backend: ObjectBackend) -> None:
        self._backend = backend
        self._memory = io.BytesIO()
        self._file: Any = None

    def write(self, data: bytes) -> None:
        if self._file is None and self._memory.tell() + len(data) <= _IN_MEMORY_BYTES:
            self._memory.write(data)
            return
        with os_errors(f"write to the temporary folder {tempfile.gettempdir()}"):
            if self._file is None:
                self._file = tempfile.NamedTemporaryFile(prefix="tunesmith-")  # noqa: SIM115
                self._file.write(self._memory.getbuffer())
                self._memory = io.BytesIO()
            self._file.write(data)

    def commit(self, key: str) -> None:
        if self._file is not None:
            with os_errors(f"write to the temporary folder {tempfile.gettempdir()}"):
                self._file.flush()
        action = f"write {key}"
        try:
            with self._backend.errors(action, key):
                path = self._backend.path(key)
                if self._file is None:
                    self._backend.filesystem.pipe_file(path, self._memory.getvalue())
                else:
                    self._backend.filesystem.put_file(self._file.name, path)
        except ObjectNotFound as error:  # what gcsfs says of a bucket
            raise self._backend.no_bucket(action) from error

    def discard(self) -> None:
        self._memory = io.BytesIO()
        if self._file is not None:
            with suppress(OSError):  # closing may try to write what a full disk refused
                self._file.close()


class _ObjectReader(io.RawIOBase):
    """An object's stream whose errors are storage's own."""

    def __init__(self, backend: ObjectBackend, key: str, stream: Any) -> None:
        self._backend = backend
        self._key = key
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        with self._backend.errors(f"read {self._key}", self._key):
            data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _is_no_space(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def _response(error: BaseException | None) -> tuple[str | None, int | None]:
    """Code and HTTP status of the answer of S3 that `error` goes back to, if any."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            code = response.get("Error", {}).get("Code")
            return code, response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        error = error.__cause__
    return None, None
