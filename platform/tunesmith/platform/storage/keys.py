"""Keys of objects: relative paths of plain words, the same on every storage.

A key never begins a segment with a dot, so that it can neither climb out (`..`) nor meet the
folder storage's own temporary files.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import InvalidKey

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._=@+-]{0,199}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_MAXIMUM_LENGTH: Final = 900  # S3 allows 1024 bytes, its prefix included


def check_key(key: str) -> str:
    """`key`, or `InvalidKey`."""
    if len(key) > _MAXIMUM_LENGTH or not _KEY.fullmatch(key):
        raise InvalidKey(
            f"{key[:200]!r} is no key for storage: use up to {_MAXIMUM_LENGTH} letters, digits and"
            " '._=@+-', in segments separated by '/' that do not begin with '.' or '-'."
        )
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` without a final slash, or `InvalidKey`; empty for all objects."""
    return check_key(prefix.removesuffix("/")) if prefix else ""
