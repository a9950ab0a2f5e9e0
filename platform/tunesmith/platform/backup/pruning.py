"""Old backups, and content that no backup names any more."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from .archive import Archive, object_key

GIVEN_UP_SECONDS: Final = 24 * 3600.0
"""Age at which a backup that never became whole counts as given up."""


@dataclass(frozen=True)
class Pruned:
    """Backups that were deleted, and objects; `waits_for` are backups that are being made."""

    backups: list[str]
    objects: int
    waits_for: list[str]


def prune(archive: Archive, keep: int) -> Pruned:
    """Keep the newest `keep` backups that are whole, and the content that they name.

    While a backup is being made, content stays: it may be about to name some.
    """
    if keep < 1:
        raise ValueError("At least one backup is kept.")
    whole = archive.whole()
    begun = archive.unfinished()
    given_up = {name for name, at in begun.items() if time.time() - at > GIVEN_UP_SECONDS}
    gone = [*whole[:-keep], *sorted(given_up - set(whole))]
    for backup_id in gone:
        # The manifest first: a backup that is half deleted must not look whole.
        archive.storage.delete(archive.path(backup_id, "manifest.json"))
        archive.storage.delete_tree(f"backups/{backup_id}")
    waits_for = sorted(begun.keys() - given_up)
    if waits_for:
        return Pruned(gone, 0, waits_for)
    named = {entry.sha256 for backup_id in whole[-keep:] for entry in archive.index(backup_id)}
    forgotten = archive.contents() - named
    for sha256 in sorted(forgotten):
        archive.storage.delete(object_key(sha256))
    return Pruned(gone, len(forgotten), [])
