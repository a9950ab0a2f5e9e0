"""Tenants' requests: Poisson arrivals, prompts and answers of log-normal length."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator

from .engine import PER_PROMPT_TOKEN, PER_REQUEST, STEP, Request

PROMPT, ANSWER = 500, 150
"""Mean tokens of a prompt and of an answer."""

_SPREAD = 0.6


def requests(rates: dict[str, float], seconds: float, seed: int) -> Iterator[Request]:
    """Requests of tenants that send so many a second, in the order of their arrival."""
    streams = [
        _of_tenant(tenant, rate, seconds, random.Random(f"{seed} {tenant}"))
        for tenant, rate in rates.items()
    ]
    return heapq.merge(*streams, key=lambda request: request.arrived)


def _of_tenant(
    tenant: str, rate: float, seconds: float, source: random.Random
) -> Iterator[Request]:
    now = source.expovariate(rate)
    while now < seconds:
        yield Request(tenant, now, _tokens(source, PROMPT), _tokens(source, ANSWER))
        now += source.expovariate(rate)


def _tokens(source: random.Random, mean: int) -> int:
    return max(1, round(source.lognormvariate(math.log(mean) - _SPREAD**2 / 2, _SPREAD)))


def most_per_second(slots: int) -> float:
    """Requests a second of the engine with all slots in use."""
    per_step = slots / ANSWER
    step = STEP + PER_REQUEST * slots + PER_PROMPT_TOKEN * PROMPT * per_step
    return per_step / step
