"""Where backups lie, in a storage of their own:

backups/ID/started          when it was begun (present until it is whole)
backups/ID/database         pg_dump's custom format, or an SQLite file
backups/ID/objects.jsonl.gz a line for each object: its key, its size, its SHA-256
backups/ID/manifest.json    written last
objects/ab/abcd...          content by its SHA-256, shared by all backups
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.storage import ObjectNotFound, Storage

from .errors import BackupFailed, RestoreRefused
from .manifest import FORMAT, Manifest

CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """An object of the platform's storage, in a backup."""

    key: str
    bytes: int
    sha256: str


def object_key(sha256: str) -> str:
    """Where content lies in the archive."""
    return f"objects/{sha256[:2]}/{sha256}"


class Archive:
    """Backups in `storage`."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def begin(self) -> str:
        """Id of a new backup: its time (UTC), so that ids are in the order of time."""
        now = time.time()
        moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        backup_id = f"{moment}.{int(now % 1 * 1000):03}Z-{random_text(4).lower()}"
        self.storage.put(self.path(backup_id, "started"), str(now).encode())
        return backup_id

    @staticmethod
    def path(backup_id: str, part: str) -> str:
        """Key of a backup's part."""
        return f"backups/{backup_id}/{part}"

    def finish(self, manifest: Manifest) -> None:
        """Make the backup one."""
        content = manifest.model_dump_json(indent=1).encode() + b"\n"
        self.storage.put(self.path(manifest.id, "manifest.json"), content)
        self.storage.delete(self.path(manifest.id, "started"))

    def whole(self) -> list[str]:
        """Ids of all backups that are whole, oldest first."""
        return sorted(_ids(self.storage.list("backups"), "manifest.json"))

    def unfinished(self) -> dict[str, float]:
        """Ids of those that are being made, or were given up, and when each was begun."""
        begun = {}
        for backup_id in _ids(self.storage.list("backups"), "started"):
            try:
                begun[backup_id] = float(self.storage.get(self.path(backup_id, "started")))
            except ObjectNotFound:  # it has become whole
                continue
        return begun

    def manifest(self, backup_id: str | None = None) -> Manifest:
        """What a backup says of itself; the newest's where none is named.

        Raises:
            RestoreRefused: there is no such backup, or a newer Tunesmith wrote it.
        """
        if backup_id is None:
            known = self.whole()
            if not known:
                raise RestoreRefused(f"No backup lies in {self.storage.url}.")
            backup_id = known[-1]
        try:
            content = json.loads(self.storage.get(self.path(backup_id, "manifest.json")))
        except ObjectNotFound:
            raise RestoreRefused(
                f"No whole backup {backup_id!r} lies in {self.storage.url};"
                " `tunesmith backup PLACE --list` shows those that do."
            ) from None
        if content.get("format") != FORMAT:
            raise RestoreRefused(
                f"Backup {backup_id} has the format {content.get('format')!r}, and this version"
                f" reads {FORMAT}: use the version that wrote it ({content.get('tunesmith')})."
            )
        try:
            return Manifest.model_validate(content)
        except ValidationError as error:
            raise RestoreRefused(
                f"The manifest of backup {backup_id} is damaged: {error}"
            ) from None

    def write_index(self, backup_id: str, entries: Iterable[Entry]) -> str:
        """Write a backup's list of objects; its SHA-256."""
        with self.storage.writer() as writer:
            with gzip.GzipFile(fileobj=writer, mode="wb", mtime=0) as packed:  # type: ignore[call-overload]
                for entry in entries:
                    packed.write(
                        json.dumps([entry.key, entry.bytes, entry.sha256]).encode() + b"\n"
                    )
            writer.commit(self.path(backup_id, "objects.jsonl.gz"))
        return writer.sha256

    def index(self, backup_id: str) -> Iterator[Entry]:
        """A backup's objects.

        Raises:
            BackupFailed: the list is damaged.
        """
        key = self.path(backup_id, "objects.jsonl.gz")
        with self.storage.open_read(key) as stream:
            try:
                with gzip.GzipFile(fileobj=stream) as lines:
                    for line in lines:
                        key, size, sha256 = json.loads(line)
                        yield Entry(key, size, sha256)
            except (EOFError, ValueError, gzip.BadGzipFile) as error:
                raise BackupFailed(f"{key} of {self.storage.url} is damaged: {error}") from error

    def contents(self) -> set[str]:
        """SHA-256 of all content that lies here."""
        return {key.rpartition("/")[2] for key in self.storage.list("objects")}


def _ids(keys: Iterable[str], part: str) -> Iterator[str]:
    for key in keys:
        _, backup_id, name = key.split("/", 2)
        if name == part:
            yield backup_id
