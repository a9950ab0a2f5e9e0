"""Which of two models a request of a split goes to: always the same one for the same user."""

from __future__ import annotations

import random
from hashlib import sha256


def goes_to_candidate(alias_id: str, user: str | None, share: float) -> bool:
    """Whether a request belongs to the `share` (0 to 1) that the candidate gets.

    A user's place in [0, 1) is a hash of alias and user: it is the same on every gateway, differs
    between aliases, and whoever had the candidate keeps it when the share grows. Without a user
    the request is on its own, and chance decides.
    """
    place = random.random() if user is None else _place(alias_id, user)  # noqa: S311 - no secret
    return place < share


def _place(alias_id: str, user: str) -> float:
    # JSON may hold half a surrogate pair, which UTF-8 has no bytes for.
    digest = sha256(f"{alias_id}\0{user}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:6]) / 2**48  # 48 bits: exact in a float, and below 1
