"""The home folder: where one machine's platform keeps its state, and who may use it now."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import CannotStart

MINIMUM_FREE_BYTES = 200_000_000
"""Below this a database, a checkpoint or a log may be cut short at any moment."""


class Home:
    """Folder layout: `run/` (this start), `logs/`, `credentials.json`; the rest by settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run"
        self.logs = path / "logs"
        self.platform_file = self.run / "platform.json"
        self.record_file = self.run / "processes.json"
        self.credentials_file = path / "credentials.json"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            CannotStart: they cannot be made or written, or the disk is full.
        """
        try:
            if not self.path.exists():
                self.path.mkdir(parents=True, mode=0o700)
            self.run.mkdir(exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            write_json(self.run / "probe.json", {})
            (self.run / "probe.json").unlink()
        except OSError as error:
            raise CannotStart(self.explain(error)) from error
        free = shutil.disk_usage(self.path).free
        if free < MINIMUM_FREE_BYTES:
            raise CannotStart(
                f"The disk of {self.path} has {free // 1_000_000} MB left; at least"
                f" {MINIMUM_FREE_BYTES // 1_000_000} MB are needed. Free some space, or choose"
                " another folder with --home."
            )

    def explain(self, error: OSError) -> str:
        """What `error` means for someone who chose this home."""
        if error.errno == errno.ENOSPC:
            return (
                f"The disk of {self.path} is full. Free some space, or choose another folder with"
                " --home."
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return (
                f"{error.filename or self.path} cannot be written ({error.strerror}). Give yourself"
                " the permission, or choose another folder with --home."
            )
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return f"{self.path} is not a folder. Choose another one with --home."
        return f"The home folder {self.path} cannot be used: {error}."

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other platform away from this home.

        Raises:
            CannotStart: another platform uses it now.
        """
        # The lock goes with the process, however it ends; children do not inherit the descriptor.
        with (self.run / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                running = read_json(self.platform_file) or read_json(self.record_file)
                who = f" (process {running['pid']})" if "pid" in running else ""
                raise CannotStart(
                    f"Another platform{who} runs on {self.path}. Stop it first, or choose another"
                    " folder with --home."
                ) from error
            yield

    def keep_admin_key(self, key: str) -> None:
        """Write the administrator's key where the CLI of the same user finds it."""
        write_json(self.credentials_file, {"admin_key": key}, mode=0o600)

    @property
    def admin_key(self) -> str | None:
        """The administrator's key, if it was kept here and may be read."""
        return read_json(self.credentials_file).get("admin_key")


def write_json(path: Path, content: dict[str, Any], *, mode: int = 0o644) -> None:
    """Replace `path` at once: a reader sees the old content or the new, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty when there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
