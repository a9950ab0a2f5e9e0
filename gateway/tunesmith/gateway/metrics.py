"""What Prometheus sees of the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# From an answer out of a cache to a generation of minutes.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The figures of one application; figures of other parts are collected when asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tunesmith_requests",
            "Requests answered, by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tunesmith_request_seconds",
            "Seconds from a request's first byte to its answer's last.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "tunesmith_requests_in_flight", "Requests being answered now.", registry=self.registry
        )
        self.tokens = Counter(
            "tunesmith_tokens",
            "Tokens that engines reported in their answers.",
            ["base", "kind"],
            registry=self.registry,
        )

        self._bases: dict[str, tuple[Counter, Counter]] = {}
        self._routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def used(self, base: str, prompt: int, completion: int) -> None:
        """Count tokens that an engine of `base` reported."""
        figures = self._bases.get(base)
        if figures is None:
            figures = self.tokens.labels(base, "prompt"), self.tokens.labels(base, "completion")
            self._bases[base] = figures
        figures[0].inc(prompt)
        figures[1].inc(completion)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        figures = self._routes.get((method, route, status))
        if figures is None:  # looking children up by their labels takes longer than counting
            figures = (
                self.requests.labels(method, route, str(status)),
                self.seconds.labels(method, route),
            )
            self._routes[method, route, status] = figures
        figures[0].inc()
        figures[1].observe(seconds)

    def collect_from(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Ask `source` at every scrape."""
        self.registry.register(_Source(source))


class _Source(Collector):
    def __init__(self, source: Callable[[], Iterable[Metric]]) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry would otherwise collect once to learn the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        return self._source()
