"""Queueing formulas: where a search begins, and what the simulation is tested against."""

from __future__ import annotations

import math
from collections.abc import Sequence


def erlang_c(servers: int, load: float) -> float:
    """Probability that a customer of M/M/c waits (Erlang 1917); 1 where the load is not carried.

    Args:
        servers: c, at least 1.
        load: offered load in erlangs, arrival rate times mean service time.

    Raises:
        ValueError: no server, or a negative load.
    """
    if servers < 1 or load < 0:
        raise ValueError(f"no M/M/c queue with {servers} servers and a load of {load}")
    if load >= servers:
        return 1.0
    blocked = 1.0  # Erlang B by its recursion, which no factorial overflows
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    share = load / servers
    return blocked / (1 - share + share * blocked)


def wait_quantile(servers: int, load: float, service: float, share: float) -> float:
    """The wait that `share` of the customers of M/M/c do not exceed, in the unit of `service`.

    The wait is 0 with probability 1 - C, else exponential with rate (c - a) / service.
    """
    if load >= servers:
        return math.inf
    waits = erlang_c(servers, load)
    if waits <= 1 - share:
        return 0.0
    return service * math.log(waits / (1 - share)) / (servers - load)


def mean_wait(servers: int, load: float, service: float) -> float:
    """Mean wait of M/M/c, in the unit of `service`."""
    if load >= servers:
        return math.inf
    return erlang_c(servers, load) * service / (servers - load)


def zipf(count: int, exponent: float) -> list[float]:
    """Shares of the 1st to the `count`-th most popular; they add up to 1."""
    weights = [(rank + 1) ** -exponent for rank in range(count)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def characteristic_time(shares: Sequence[float], places: int) -> float:
    """Che's characteristic time of an LRU cache, in requests: how long an unasked item stays.

    Che, Tung and Wang 2002: the T at which the expected number of items that are there,
    sum(1 - exp(-share T)), is the number of places.

    Returns:
        Infinity where all items have a place.
    """
    if places >= len(shares):
        return math.inf
    if places < 1:
        return 0.0
    low, high = 0.0, float(places)
    while _present(shares, high) < places:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if _present(shares, middle) < places:
            low = middle
        else:
            high = middle
    return high


def lru_hit_ratio(shares: Sequence[float], places: int) -> float:
    """Share of requests that an LRU cache answers, by Che's approximation."""
    time = characteristic_time(shares, places)
    if math.isinf(time):
        return 1.0
    return math.fsum(share * -math.expm1(-share * time) for share in shares)


def _present(shares: Sequence[float], time: float) -> float:
    return math.fsum(-math.expm1(-share * time) for share in shares)
