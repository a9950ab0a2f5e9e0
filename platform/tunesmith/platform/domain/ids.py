"""Identifiers in the form that OpenAI's clients know: a prefix and 24 letters and digits."""

from __future__ import annotations

import secrets
import string

_ALPHABET = (string.ascii_letters + string.digits).encode()
_LENGTH = 24

# Every letter stands for four bytes; the eight bytes left over are thrown away.
_LETTER = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_LEFT_OVER = bytes(range(4 * len(_ALPHABET), 256))


def random_text(length: int = _LENGTH) -> str:
    """`length` letters and digits from the system's secure source (5.95 bits each)."""
    letters = b""
    while len(letters) < length:
        letters += secrets.token_bytes(length + 8).translate(_LETTER, _LEFT_OVER)
    return letters[:length].decode()


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


def audit_id() -> str:
    """Id of an entry of the audit log."""
    return f"audit_log-{random_text()}"


def batch_id() -> str:
    """Id of a batch."""
    return f"batch_{random_text()}"


def batch_request_id() -> str:
    """Id of one answer in a batch's output."""
    return f"batch_req_{random_text()}"


def upload_id() -> str:
    """Id of an upload in parts."""
    return f"upload_{random_text()}"


def part_id() -> str:
    """Id of an upload's part."""
    return f"part_{random_text()}"


def permission_id() -> str:
    """Id of a checkpoint's permission."""
    return f"cp_{random_text()}"


def webhook_endpoint_id() -> str:
    """Id of a webhook's endpoint."""
    return f"we_{random_text()}"


def webhook_delivery_id() -> str:
    """Id of an event's way to one endpoint."""
    return f"wd_{random_text()}"


def webhook_event_id() -> str:
    """Id of an event that webhooks tell of."""
    return f"evt_{random_text()}"
