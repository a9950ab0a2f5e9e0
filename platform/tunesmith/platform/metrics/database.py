"""How the database serves this process."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from tunesmith.platform.database import Database

from .source import collect_from

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ERRORS = ("unavailable", "pool_exhausted")
KINDS = ("read", "write")


def watch_database(registry: CollectorRegistry, database: Database) -> None:
    """Have `registry` tell transactions, errors and connections of `database`."""
    seconds = Histogram(
        "tunesmith_database_transaction_seconds",
        "Seconds from a transaction's begin to its end, what the process does in it included.",
        ["kind"],
        buckets=_SECONDS,
        registry=registry,
    )
    errors = Counter(
        "tunesmith_database_errors",
        "Transactions that failed as the database was away, or all connections were in use.",
        ["error"],
        registry=registry,
    )
    by_kind = {kind: seconds.labels(kind) for kind in KINDS}
    by_error = {error: errors.labels(error) for error in ERRORS}

    def observe(kind: str, took: float, error: str | None) -> None:
        by_kind[kind].observe(took)
        if error is not None:
            by_error[error].inc()

    database.observe = observe
    collect_from(registry, lambda: _connections(database))


def _connections(database: Database) -> Iterable[Metric]:
    in_use, idle, most = database.connections
    connections = GaugeMetricFamily(
        "tunesmith_database_connections",
        "Connections to the database that this process holds.",
        labels=["state"],
    )
    connections.add_metric(["in_use"], in_use)
    connections.add_metric(["idle"], idle)
    limit = GaugeMetricFamily(
        "tunesmith_database_connections_max", "Most connections that this process may hold."
    )
    limit.add_metric([], most)
    return [connections, limit]
