"""Whether limits are shared between gateways now."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from .fail_open import FailOpenStore


def of_store(store: FailOpenStore) -> Iterable[Metric]:
    """The store of limits: whether it answers, and how often it did not."""
    return [
        GaugeMetricFamily(
            "tunesmith_limit_store_up",
            "0 while the store of limits is away and this gateway goes on with its share.",
            float(not store.is_away),
        ),
        CounterMetricFamily(
            "tunesmith_limit_store_errors",
            "Times that the store of limits did not answer.",
            store.errors,
        ),
    ]
