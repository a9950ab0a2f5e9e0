"""The `x-ratelimit-*` headers, in OpenAI's formats."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from .budget import Budget


def duration(seconds: float) -> str:
    """A time as OpenAI writes it: `20ms`, `1.5s`, `6m0s`, `1h0m0s`; never less than it is."""
    milliseconds = ceil(round(seconds * 1000, 6))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    whole, fraction = divmod(milliseconds, 1000)
    minutes, rest = divmod(whole, 60)
    text = f"{rest}.{fraction:03d}".rstrip("0").rstrip(".") if fraction else str(rest)
    if not minutes:
        return f"{text}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}s" if hours else f"{minutes}m{text}s"


def rate_headers(requests: Iterable[Budget], tokens: Iterable[Budget]) -> dict[str, str]:
    """What is left, of the tenant's and the key's budgets the one that has less left."""
    headers: dict[str, str] = {}
    for what, budgets in (("requests", requests), ("tokens", tokens)):
        tightest = min(budgets, key=lambda budget: budget.remaining, default=None)
        if tightest is not None:
            headers[f"x-ratelimit-limit-{what}"] = str(tightest.limit)
            headers[f"x-ratelimit-remaining-{what}"] = str(int(tightest.remaining))
            headers[f"x-ratelimit-reset-{what}"] = duration(tightest.seconds_until(tightest.limit))
    return headers
