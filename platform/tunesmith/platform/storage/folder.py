"""Storage in a folder of a file system.

Not through fsspec: its local transactions stage files in the system's temporary folder and move
them, which across file systems is a copy that others see half done (docs/decisions/0004).
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from .errors import InvalidKey, ObjectNotFound, StorageFull, StorageUnavailable

_INCOMING: Final = ".incoming"  # no key begins with a dot
_ABANDONED_AFTER_S: Final = 3600.0


class FolderBackend:
    """Objects as files under `root`, readable by their owner alone (0600 in folders of 0700)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    def spool(self) -> FolderSpool:
        """A temporary file beside the objects, so that a rename puts it in its place."""
        with os_errors(f"write to the storage folder {self.root}"):
            incoming = self.root / _INCOMING
            make_folder(incoming)
            if not self._swept:
                self._swept = True
                _remove_abandoned(incoming)
            descriptor, name = tempfile.mkstemp(dir=incoming)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return FolderSpool(self, os.fdopen(descriptor, "wb"), Path(name))

    def read(self, key: str) -> bytes:
        with self.open(key) as stream, os_errors(f"read {key}"):
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        with os_errors(f"read {key}"), self._finding(key):
            return (self.root / key).open("rb")

    def size(self, key: str) -> int:
        with os_errors(f"look up {key}"), self._finding(key):
            path = self.root / key
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            return path.stat().st_size

    def delete(self, key: str) -> None:
        path = self.root / key
        with os_errors(f"delete {key}"):
            if path.is_file():
                path.unlink(missing_ok=True)
        # Folders mean nothing here, so empty ones go; the first that is not empty ends it.
        with suppress(OSError):
            for folder in path.relative_to(self.root).parents[:-1]:
                (self.root / folder).rmdir()

    def keys(self, prefix: str) -> list[str]:
        with os_errors(f"list {prefix or 'objects'}"):
            return sorted(self._walk(self.root / prefix))

    def _walk(self, top: Path) -> Iterator[str]:
        for folder, folders, files in os.walk(top, onerror=_raise_unless_gone):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(self.root).as_posix()

    @contextmanager
    def _finding(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectNotFound(f"Storage holds no object {key}.") from error


class FolderSpool:
    """A temporary file, locked while its writer lives."""

    def __init__(self, backend: FolderBackend, stream: BinaryIO, path: Path) -> None:
        self._backend = backend
        self._stream = stream
        self._path = path

    def write(self, data: bytes) -> None:
        with os_errors(f"write to the storage folder {self._backend.root}"):
            self._stream.write(data)

    def commit(self, key: str) -> None:
        """Rename into place.

        Synced before the rename and after it: the database will call the object true a moment
        later, and after a power cut a row must not name a file that is empty or gone.
        """
        target = self._backend.root / key
        with os_errors(f"write {key}"):
            self._stream.flush()
            os.fsync(self._stream.fileno())
            try:
                self._rename(target)
            except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                raise InvalidKey(f"{key} is both an object and a folder of objects.") from error
            with suppress(FileNotFoundError):  # deleted already, and its folder with it
                _sync_folder(target.parent)

    def _rename(self, target: Path) -> None:
        attempts = 100
        for attempt in range(1, attempts + 1):
            try:
                make_folder(target.parent)
                os.replace(self._path, target)
            except FileNotFoundError:
                # A neighbour's deletion took the empty folder away before the file was in it.
                if attempt == attempts:
                    raise
            else:
                return

    def discard(self) -> None:
        with suppress(OSError):  # closing may try to write what a full disk refused
            self._stream.close()
        self._path.unlink(missing_ok=True)


@contextmanager
def os_errors(action: str) -> Iterator[None]:
    """Turn the system's errors into storage's own."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"Could not {action}: no space is left. Free some space or raise the quota."
            ) from error
        raise StorageUnavailable(f"Could not {action}: {error.strerror or error}.") from error


def make_folder(path: Path) -> None:
    """Create `path` and what is missing above it, for the owner alone, durably."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{path} is not a folder") from None
    else:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _remove_abandoned(incoming: Path) -> None:
    """Remove what killed writers left: old, and no longer locked.

    Age alone would take a slow upload, and the lock alone fails where a network file system keeps
    locks on each host for itself.
    """
    for path in incoming.iterdir():
        with suppress(OSError):  # gone meanwhile, or in use: not ours to remove
            if time.time() - path.stat().st_mtime < _ABANDONED_AFTER_S:
                continue
            with path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
