"""How storage serves this process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.measured import ERRORS, OPERATIONS

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def watch_storage(registry: CollectorRegistry, storage: Storage) -> None:
    """Have `registry` tell calls of `storage` and their errors; an absent object is none."""
    seconds = Histogram(
        "tunesmith_storage_operation_seconds",
        "Seconds of a call to storage; of `open`, until the first byte may be read.",
        ["operation"],
        buckets=_SECONDS,
        registry=registry,
    )
    errors = Counter(
        "tunesmith_storage_errors",
        "Calls to storage that failed as it was away, or full.",
        ["operation", "error"],
        registry=registry,
    )
    by_operation = {name: seconds.labels(name) for name in OPERATIONS}
    by_error = {(name, why): errors.labels(name, why) for name in OPERATIONS for why in ERRORS}

    def observe(operation: str, took: float, error: str | None) -> None:
        by_operation[operation].observe(took)
        if error is not None:
            by_error[operation, error].inc()

    storage.observe(observe)
