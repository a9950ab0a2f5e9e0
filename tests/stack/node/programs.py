"""Programs of this machine that stand for images or are servers of their own."""

from __future__ import annotations

import shutil
from pathlib import Path


class MissingProgram(Exception):
    """A program is not installed; the message says how to get it."""


def program(name: str, package: str, *elsewhere: str) -> str:
    """Where a program is: on the PATH, or at one of the patterns below `/`.

    Raises:
        MissingProgram: it is not installed.
    """
    found = shutil.which(name) or next(
        (str(path) for pattern in elsewhere for path in sorted(Path("/").glob(pattern))), None
    )
    if found is None:
        raise MissingProgram(f"{name} is missing: install {package}.")
    return found
