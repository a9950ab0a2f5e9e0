"""The `x-ratelimit-*` headers, in OpenAI's formats."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from tunesmith.platform.limits.bucket import MINUTE

from .budget import Budget

_REQUESTS, _TOKENS = (
    tuple(f"x-ratelimit-{figure}-{what}" for figure in ("limit", "remaining", "reset"))
    for what in ("requests", "tokens")
)


def duration(seconds: float) -> str:
    """A time as OpenAI writes it: `20ms`, `1.5s`, `6m0s`, `1h0m0s`; never less than it is."""
    milliseconds = ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    whole, fraction = divmod(milliseconds, 1000)
    minutes, rest = divmod(whole, 60)
    text = f"{rest}.{fraction:03d}".rstrip("0").rstrip(".") if fraction else str(rest)
    if not minutes:
        return f"{text}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}s" if hours else f"{minutes}m{text}s"


def rate_headers(requests: Sequence[Budget], tokens: Sequence[Budget]) -> dict[str, str]:
    """What is left, of the tenant's and the key's budgets the one that has less left."""
    headers: dict[str, str] = {}
    for (limit_name, remaining_name, reset_name), budgets in (
        (_REQUESTS, requests),
        (_TOKENS, tokens),
    ):
        if not budgets:
            continue
        tightest = budgets[0]
        balance = tightest.balance
        for budget in budgets[1:]:
            if (other := budget.balance) < balance:
                tightest, balance = budget, other
        limit = tightest.limit
        headers[limit_name] = str(limit)
        headers[remaining_name] = str(int(balance)) if balance > 0 else "0"
        headers[reset_name] = duration((limit - balance) * MINUTE / limit)
    return headers
