"""What Prometheus sees of training: by base, never by tenant or job, so that series stay few."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from tunesmith.platform.domain.training import StepMetrics
from tunesmith.platform.metrics.source import collect_from

_STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PUBLISH_SECONDS = (0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 600)
_WAIT_SECONDS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_RATE_SECONDS = 30.0


class CohortSeen(Protocol):
    """What is counted of a cohort."""

    @property
    def base_name(self) -> str: ...
    @property
    def ready(self) -> bool: ...
    @property
    def jobs(self) -> set[str]: ...


class TrainingMetrics:
    """The figures of one dispatcher. Safe to call from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._rates = _Rates(clock)
        self._steps = Counter(
            "tunesmith_training_steps",
            "Optimizer steps, those that were trained again included.",
            ["base"],
            registry=self.registry,
        )
        self._tokens = Counter(
            "tunesmith_training_tokens", "Tokens trained.", ["base"], registry=self.registry
        )
        self._padding = Counter(
            "tunesmith_training_padding_tokens",
            "Positions that were computed and held no token.",
            ["base"],
            registry=self.registry,
        )
        self._step_seconds = Histogram(
            "tunesmith_training_step_seconds",
            "Seconds of one job's optimizer step.",
            ["base"],
            buckets=_STEP_SECONDS,
            registry=self.registry,
        )
        self._wait_seconds = Histogram(
            "tunesmith_job_wait_seconds",
            "Seconds from a job's creation to its first start.",
            ["base"],
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )
        self._publish_seconds = Histogram(
            "tunesmith_publish_seconds",
            "Seconds from a trained adapter to its model, or to the proof that it has none.",
            ["base"],
            buckets=_PUBLISH_SECONDS,
            registry=self.registry,
        )
        self._lost = Counter(
            "tunesmith_cohorts_lost",
            "Cohorts whose process died.",
            ["base"],
            registry=self.registry,
        )
        self._progress = Gauge(
            "tunesmith_cohort_last_progress_timestamp_seconds",
            "When a cohort last told of a step, of a state or of a job that came or went.",
            ["base"],
            registry=self.registry,
        )
        self.collect_from(self._rates.figures)

    def started(self, base: str, waited_seconds: float) -> None:
        """A job runs for the first time, so many seconds after it was created."""
        self._wait_seconds.labels(base).observe(max(0.0, waited_seconds))

    def progressed(self, base: str) -> None:
        """A cohort told of something, or was given a job."""
        self._progress.labels(base).set_to_current_time()

    def stepped(self, base: str, step: StepMetrics) -> None:
        """A job made an optimizer step."""
        self._steps.labels(base).inc()
        if step.tokens is None:
            return
        self._tokens.labels(base).inc(step.tokens)
        self._rates.add(base, step.tokens)
        if step.tokens_per_second:
            self._step_seconds.labels(base).observe(step.tokens / step.tokens_per_second)
        share = step.padding_share
        if share is not None and 0 <= share < 1:
            self._padding.labels(base).inc(step.tokens * share / (1 - share))

    def published(self, base: str, seconds: float) -> None:
        """Publishing a trained adapter ended, well or not, after so many seconds."""
        self._publish_seconds.labels(base).observe(seconds)

    def cohort_lost(self, base: str) -> None:
        """A cohort's process died."""
        self._lost.labels(base).inc()

    def collect_from(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Ask `source` at every scrape."""
        collect_from(self.registry, source)


def of_cohorts(cohorts: Iterable[CohortSeen], slots_per_cohort: int) -> Iterable[Metric]:
    """Cohorts that hold their base, their slots, and those in use."""
    pending = GaugeMetricFamily(
        "tunesmith_cohorts_pending",
        "Cohorts that were asked for and whose base is not resident yet.",
        labels=["base"],
    )
    up = GaugeMetricFamily("tunesmith_cohorts", "Cohorts whose base is resident.", labels=["base"])
    used = GaugeMetricFamily(
        "tunesmith_cohort_slots_used", "Slots in which a job trains.", labels=["base"]
    )
    slots = GaugeMetricFamily(
        "tunesmith_cohort_slots", "Slots of the cohorts that are up.", labels=["base"]
    )
    of_base: dict[str, list[CohortSeen]] = {}
    for cohort in cohorts:
        of_base.setdefault(cohort.base_name, []).append(cohort)
    for base, own in of_base.items():
        ready = sum(cohort.ready for cohort in own)
        up.add_metric([base], ready)
        pending.add_metric([base], len(own) - ready)
        used.add_metric([base], sum(len(cohort.jobs) for cohort in own))
        slots.add_metric([base], slots_per_cohort * ready)
    return [up, pending, used, slots]


class _Rates:
    """Tokens per second and base, over the last half minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._steps: dict[str, deque[tuple[float, int]]] = {}
        self._lock = Lock()

    def add(self, base: str, tokens: int) -> None:
        now = self._clock()
        with self._lock:
            steps = self._steps.setdefault(base, deque())
            steps.append((now, tokens))
            self._forget(steps, now)

    def figures(self) -> Iterable[Metric]:
        rate = GaugeMetricFamily(
            "tunesmith_training_tokens_per_second",
            f"Tokens trained per second, over the last {_RATE_SECONDS:g} seconds.",
            labels=["base"],
        )
        now = self._clock()
        with self._lock:
            for base, steps in self._steps.items():
                self._forget(steps, now)
                rate.add_metric([base], sum(tokens for _, tokens in steps) / _RATE_SECONDS)
        return [rate]

    @staticmethod
    def _forget(steps: deque[tuple[float, int]], now: float) -> None:
        while steps and steps[0][0] <= now - _RATE_SECONDS:
            steps.popleft()
