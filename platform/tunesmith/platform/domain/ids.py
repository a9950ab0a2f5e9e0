"""Identifiers in the form that OpenAI's clients know: a prefix and 24 letters and digits."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 24


def random_text(length: int = _LENGTH) -> str:
    """`length` letters and digits from the system's secure source (5.95 bits each)."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def file_id() -> str:
    """Id of a file."""
    return f"file-{random_text()}"


def job_id() -> str:
    """Id of a fine-tuning job."""
    return f"ftjob-{random_text()}"


def event_id() -> str:
    """Id of a fine-tuning job's event."""
    return f"ftevent-{random_text()}"


def checkpoint_id() -> str:
    """Id of a fine-tuning job's checkpoint."""
    return f"ftckpt_{random_text()}"


def tenant_id() -> str:
    """Id of a tenant."""
    return f"org-{random_text()}"


def key_id() -> str:
    """Id of an API key (not the key itself)."""
    return f"key_{random_text(16)}"


def evaluation_id() -> str:
    """Id of an evaluation: what OpenAI calls a run of an eval."""
    return f"evalrun_{random_text()}"


def alias_id() -> str:
    """Id of an alias."""
    return f"alias_{random_text()}"
