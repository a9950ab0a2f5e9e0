"""Signatures by the Standard Webhooks, which OpenAI's webhooks follow as well.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification: 24 to 64


def new_secret() -> str:
    """A secret to sign with, in the form that verifying libraries take: `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def hint(secret: str) -> str:
    """What of a secret may be shown again."""
    return f"{_PREFIX}...{secret[-4:]}"


def headers(
    signed_by: Sequence[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers that prove where `body` comes from.

    Args:
        signed_by: secrets; during a rotation there are two, and a receiver may know either.
        message_id: the same for each attempt, so that a receiver knows a repeat.
        timestamp: of this attempt, in seconds; receivers refuse one that is minutes old.
    """
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, content) for secret in signed_by),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
