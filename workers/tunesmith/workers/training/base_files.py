"""The files of a resident base: what was loaded must be what jobs were created for."""

from __future__ import annotations

from pathlib import Path

from tunesmith.workers.bases.digest import base_digest


class BaseChanged(Exception):
    """The base's files are not those that the job was created for."""


class BaseFiles:
    """Watches a base directory.

    Args:
        directory: of the base.
        digest: what its files must hash to.
    """

    def __init__(self, directory: Path, digest: str) -> None:
        self._directory = directory
        self._digest = digest
        self._checked: dict[str, tuple[int, int, int]] = {}

    def check(self) -> None:
        """Compare sizes and times with the last check, and read the files only when they differ.

        Raises:
            BaseChanged: the files are not those of the digest.
        """
        files = {
            str(path): (status.st_size, status.st_mtime_ns, status.st_ino)
            for path in self._directory.rglob("*")
            if path.is_file() and (status := path.stat())
        }
        if files == self._checked:
            return
        found = base_digest(self._directory)
        if found != self._digest:
            raise BaseChanged(
                f"The base in {self._directory} has changed: its digest is {found}, not"
                f" {self._digest}. Restart the platform to register it anew."
            )
        self._checked = files
