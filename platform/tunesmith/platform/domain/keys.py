"""API keys: made once, shown once, kept as a hash.

A key carries 238 random bits, so a plain SHA-256 cannot be guessed back (a slow password hash
guards secrets that people choose).
"""

from __future__ import annotations

import hashlib

from .ids import random_text

PREFIX = "sk-ts-"


def new_key() -> str:
    """A new API key, `sk-ts-` and 40 letters and digits."""
    return PREFIX + random_text(40)


def key_hash(key: str) -> str:
    """SHA-256 of `key` in hex: what the database keeps and looks up."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_hint(key: str) -> str:
    """What a person recognises a key by: its first and last characters."""
    return f"{key[:9]}...{key[-4:]}"
