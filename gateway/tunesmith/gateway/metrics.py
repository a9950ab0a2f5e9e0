"""What Prometheus sees of the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from tunesmith.platform.domain.errors import RateLimited, TunesmithError
from tunesmith.platform.metrics.source import collect_from

# From an answer out of a cache to a generation of minutes.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
# Dense where objectives lie: an alert's threshold has to be one of these.
_FIRST_TOKEN = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_LOAD_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60)

REFUSALS = (
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_requests",
    "limits_unavailable",
    "engine_unavailable",
    "engine_busy",
    "engine_error",
    "adapter_loading",
    "adapter_unavailable",
    "answer_timeout",
    "gateway_busy",
    "database_unavailable",
    "other",
)
"""Why a request for inference was refused that might have been answered at another time."""


class BaseFigures(NamedTuple):
    """The children of one base: looking them up by their labels takes longer than counting."""

    prompt: Counter
    completion: Counter
    first_token: Histogram
    whole_answer: Histogram
    cut: Counter


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
        self.first_token = Histogram(
            "tunesmith_time_to_first_token_seconds",
            "Seconds from a streamed request's first byte to the first byte of its answer's body.",
            ["base"],
            buckets=_FIRST_TOKEN,
            registry=self.registry,
        )
        self.whole_answer = Histogram(
            "tunesmith_whole_answer_seconds",
            "Seconds from the first byte of a request that is not streamed to all of its answer.",
            ["base"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.cut = Counter(
            "tunesmith_streams_cut",
            "Streams whose engine was lost before their end; their status is 200 all the same.",
            ["base"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "tunesmith_requests_refused",
            "Requests for inference refused with 429 or a 5xx, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.load_seconds = Histogram(
            "tunesmith_adapter_load_seconds",
            "Seconds that an engine took to pull an adapter, as it was told to.",
            ["base"],
            buckets=_LOAD_SECONDS,
            registry=self.registry,
        )
        self.load_failures = Counter(
            "tunesmith_adapter_load_failures",
            "Adapters that an engine was told to pull and did not.",
            ["base"],
            registry=self.registry,
        )
        attempts = Counter(
            "tunesmith_webhook_attempts",
            "Tries to deliver an event to a webhook, by what came of them.",
            ["outcome"],
            registry=self.registry,
        )
        self._attempts = {name: attempts.labels(name) for name in ("taken", "refused", "gone")}
        self._refused = {reason: self.refusals.labels(reason) for reason in REFUSALS}
        self._bases: dict[str, BaseFigures] = {}
        self._routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def base(self, name: str) -> BaseFigures:
        """The figures of a base."""
        figures = self._bases.get(name)
        if figures is None:
            figures = self._bases[name] = BaseFigures(
                self.tokens.labels(name, "prompt"),
                self.tokens.labels(name, "completion"),
                self.first_token.labels(name),
                self.whole_answer.labels(name),
                self.cut.labels(name),
            )
        return figures

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

    def refused(self, error: TunesmithError) -> None:
        """Count a request for inference that got 429 or a 5xx."""
        reason = error.limit if isinstance(error, RateLimited) else error.code
        child = self._refused.get(reason or "other")
        (child or self._refused["other"]).inc()

    def adapter_load(self, base: str, seconds: float, *, loaded: bool) -> None:
        """Count an adapter that an engine was told to pull."""
        if loaded:
            self.load_seconds.labels(base).observe(seconds)
            self.load_failures.labels(base)  # there at 0, so that the first failure is a rise
        else:
            self.load_failures.labels(base).inc()

    def webhook_attempted(self, outcome: str) -> None:
        """Count a try to deliver an event: `taken`, `refused` or `gone`."""
        self._attempts[outcome].inc()

    def collect_from(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Ask `source` at every scrape."""
        collect_from(self.registry, source)
