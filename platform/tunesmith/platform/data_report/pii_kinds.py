"""What personal data and secrets are told apart, and where in a text one stands."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class PiiKind(StrEnum):
    """A kind of personal data, or a secret; its upper case is the placeholder's name."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    IBAN = "iban"
    NATIONAL_ID = "national_id"
    IP_ADDRESS = "ip_address"
    SECRET = "secret"  # noqa: S105 - the name of a kind


class Span(NamedTuple):
    """One piece of personal data: the characters from `start` up to `end`, exclusive."""

    kind: PiiKind
    start: int
    end: int
