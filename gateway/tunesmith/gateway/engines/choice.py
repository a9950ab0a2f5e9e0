"""Which engine a request goes to."""

from __future__ import annotations

from collections.abc import Sequence

from .engine import Engine


def choose(engines: Sequence[Engine], digest: str | None) -> Engine | None:
    """Of engines that can serve the request, the one with the fewest requests in it.

    For an adapter, those that hold it come first: another would have to pull it.
    """
    homes = [engine for engine in engines if digest in engine.adapters]
    return min(homes or engines, key=lambda engine: engine.in_flight, default=None)
