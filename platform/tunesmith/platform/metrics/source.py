"""Figures that are asked for at every scrape, instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


def collect_from(registry: CollectorRegistry, source: Callable[[], Iterable[Metric]]) -> None:
    """Ask `source` at every scrape of `registry`."""
    registry.register(_Source(source))


class _Source(Collector):
    def __init__(self, source: Callable[[], Iterable[Metric]]) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry would otherwise collect once to learn the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        return self._source()
