"""Adapters in storage, named by their content: `adapters/<digest>/<file>`.

The engine's plugin uses this inside vLLM's process: no database, nothing slow to import.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from .errors import CorruptAdapter, InvalidKey, StorageUnavailable
from .folder import make_folder, os_errors
from .storage import Storage

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
ADAPTER_FILES: Final = (WEIGHTS, CONFIG)
"""Files of an adapter in the order in which they are written: who sees the config sees all."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES: Final = 1024 * 1024
_ABANDONED_AFTER_S: Final = 3600.0


def is_adapter_digest(name: str) -> bool:
    """Whether `name` has the form of an adapter's digest: 64 lower-case hex digits."""
    return _DIGEST.fullmatch(name) is not None


def adapter_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 in hex over each file in the order of names.

    Of each: its name in UTF-8, a NUL, its length as 8 bytes big-endian, its content.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(_file_header(name, len(files[name])))
        digest.update(files[name])
    return digest.hexdigest()


def put_adapter(storage: Storage, files: Mapping[str, bytes]) -> str:
    """Store an adapter and answer its digest; storing it again changes nothing.

    Raises:
        InvalidKey: `files` are not exactly `ADAPTER_FILES`.
    """
    if set(files) != set(ADAPTER_FILES):
        raise InvalidKey(
            f"An adapter is made of {' and '.join(ADAPTER_FILES)}, not of"
            f" {', '.join(sorted(files)) or 'nothing'}."
        )
    digest = adapter_digest(files)
    for name in ADAPTER_FILES:
        storage.put(f"adapters/{digest}/{name}", files[name])
    return digest


def adapter_exists(storage: Storage, digest: str) -> bool:
    """Whether storage holds the whole adapter."""
    return storage.exists(f"{_prefix(digest)}/{CONFIG}")


def delete_adapter(storage: Storage, digest: str) -> None:
    """Remove an adapter; one that is not there is no error."""
    prefix = _prefix(digest)
    for name in reversed(ADAPTER_FILES):
        storage.delete(f"{prefix}/{name}")


def fetch_adapter(storage: Storage, digest: str, cache_directory: Path) -> Path:
    """The local folder of an adapter, downloaded where the cache lacks it or holds it damaged.

    Every call reads and verifies the files, since an engine that loads wrong weights tells
    nobody. Several processes may share the cache: a download replaces files one by one, each
    by a rename, and all that passed verification are equal.

    Raises:
        ObjectNotFound: storage holds no such adapter.
        CorruptAdapter: what storage holds is not what the digest says.
    """
    prefix = _prefix(digest)
    folder = cache_directory / digest
    with os_errors(f"use the adapter cache {cache_directory}"):
        if _cached_digest(folder) == digest:
            return folder
        make_folder(folder)
        _remove_abandoned(cache_directory)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=cache_directory) as incoming:
            if _download(storage, prefix, Path(incoming)) != digest:
                raise CorruptAdapter(
                    f"Adapter {digest} is damaged in storage: its files do not match its digest."
                    " Delete it and train it again."
                )
            for name in ADAPTER_FILES:
                os.replace(Path(incoming) / name, folder / name)
    return folder


def forget_adapter(storage: Storage, digest: str, cache_directory: Path) -> None:
    """Remove an adapter's local folder, if storage does not hold the adapter any more."""
    if not is_adapter_digest(digest) or adapter_exists(storage, digest):
        return
    with suppress(FileNotFoundError):
        shutil.rmtree(cache_directory / digest)


def sweep_cache(storage: Storage, cache_directory: Path) -> None:
    """Remove the local folders of all adapters that storage does not hold any more.

    While storage cannot be asked, they stay.
    """
    with suppress(FileNotFoundError, StorageUnavailable):
        for folder in sorted(cache_directory.iterdir()):
            forget_adapter(storage, folder.name, cache_directory)


def _prefix(digest: str) -> str:
    if not is_adapter_digest(digest):
        raise InvalidKey(f"{digest[:100]!r} is not an adapter's digest.")
    return f"adapters/{digest}"


def _file_header(name: str, size: int) -> bytes:
    return name.encode() + b"\0" + size.to_bytes(8, "big")


def _cached_digest(folder: Path) -> str | None:
    """Digest of the files in `folder`, or None where one is missing."""
    digest = hashlib.sha256()
    for name in sorted(ADAPTER_FILES):
        path = folder / name
        try:
            with path.open("rb") as stream:
                digest.update(_file_header(name, os.fstat(stream.fileno()).st_size))
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except FileNotFoundError:
            return None
    return digest.hexdigest()


def _download(storage: Storage, prefix: str, folder: Path) -> str:
    """Copy the adapter's files into `folder`; the digest of what came."""
    digest = hashlib.sha256()
    for name in sorted(ADAPTER_FILES):
        key = f"{prefix}/{name}"
        digest.update(_file_header(name, storage.size(key)))
        target = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with storage.open_read(key) as source, os.fdopen(target, "wb") as out:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                out.write(chunk)
    return digest.hexdigest()


def _remove_abandoned(cache_directory: Path) -> None:
    """Remove downloads that a killed process left behind."""
    for path in cache_directory.glob(".incoming-*"):
        with suppress(FileNotFoundError):  # another process removed it, or finished
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(path)
