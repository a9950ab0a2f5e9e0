"""Platforms that this user runs on this machine, so that a command finds the only one.

A note per platform lies in a folder of the user's own under the system's temporary one; a note
whose process is gone does not count.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import psutil

from .home import Home, read_json, write_json


def announce(home: Home) -> None:
    """Note that this process runs a platform on `home`."""
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    if _is_ours(folder):
        write_json(_note(folder), {"home": str(home.path)}, mode=0o600)


def withdraw() -> None:
    """Take this process's note away."""
    _note(_folder()).unlink(missing_ok=True)


def running_homes() -> list[Home]:
    """Homes of the platforms that this user runs now."""
    folder = _folder()
    if not _is_ours(folder):
        return []
    homes = []
    for note in sorted(folder.glob("*.json")):
        path = read_json(note).get("home")
        if path and note.stem.isdigit() and psutil.pid_exists(int(note.stem)):
            home = Home(Path(path))
            if read_json(home.platform_file).get("pid") == int(note.stem):
                homes.append(home)
    return homes


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / f"tunesmith-{os.getuid()}"


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put notes there."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & 0o022 and folder.is_dir()


def _note(folder: Path) -> Path:
    return folder / f"{os.getpid()}.json"
