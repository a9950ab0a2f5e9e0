"""What is asked of the platform: tenants, jobs, requests, and when they come."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields

from tunesmith.platform.domain.errors import InvalidRequest

DAY = 86_400.0
_BUSY_HOUR = 14.0
_SHARPNESS = 4
"""Power of the raised cosine: the busy half of the day takes about eight of its hours."""
_MEAN_COSINE = math.comb(2 * _SHARPNESS, _SHARPNESS) / 4.0**_SHARPNESS
MOST_PEAK = 1 / _MEAN_COSINE


@dataclass(frozen=True)
class Workload:
    """What is asked.

    Attributes:
        tenants: organisations; their popularity is Zipf's with `exponent`.
        jobs_per_day: fine-tuning jobs of all tenants, in the mean.
        requests_per_second: of tenants' clients, averaged over the day.
        peak: the busiest moment of a day over its mean.
        models_per_tenant: tuned models that are asked for now and then.
        bases: base models among which jobs and requests are spread evenly.
        examples: of a job, in the mean; sizes are log-normal.
        example_tokens: of an example, prompt and answer.
        learned_share: of an example's tokens, those that are learned.
        batch: examples of an optimizer step.
        prompt_tokens, completion_tokens: of a request, in the mean.
        evaluated: whether jobs are evaluated, which asks the engines as well.
    """

    tenants: int
    jobs_per_day: float
    requests_per_second: float
    peak: float = 2.0
    models_per_tenant: float = 3.0
    bases: int = 1
    exponent: float = 1.0
    examples: float = 500.0
    epochs: float = 3.0
    example_tokens: float = 300.0
    learned_share: float = 0.4
    batch: int = 4
    rank: int = 16
    prompt_tokens: float = 400.0
    completion_tokens: float = 150.0
    evaluated: bool = True

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InvalidRequest: a number is out of its range; the message gives it.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool):
                continue
            low, high = _RANGES.get(field.name, (1e-9, 1e12))
            if not low <= value <= high:
                raise InvalidRequest(
                    f"{field.name} must be from {low:g} to {high:g}; it is {value:g}.",
                    param=field.name,
                )

    @property
    def models(self) -> int:
        """Tuned models that are asked for."""
        return max(1, round(self.tenants * self.models_per_tenant))

    @property
    def job_tokens(self) -> float:
        """Tokens that a job trains, in the mean."""
        return self.examples * self.epochs * self.example_tokens

    @property
    def evaluation_requests(self) -> float:
        """Requests that a job's evaluation sends: docs/evaluation.md.

        A tenth of the examples (500 at most) is answered by both models, and 100 of them scored
        for likelihood; the tuned model gets 120 general questions, the base's are kept.
        """
        if not self.evaluated:
            return 0.0
        held_out = min(500.0, 0.1 * self.examples)
        return 2 * held_out + 2 * min(100.0, held_out) + 120

    def busyness(self, moment: float) -> float:
        """Arrivals at a moment (seconds) over the day's mean: a raised cosine about 14:00."""
        angle = 2 * math.pi * (moment / DAY - _BUSY_HOUR / 24)
        cosine = ((1 + math.cos(angle)) / 2) ** _SHARPNESS
        quiet = (1 - self.peak * _MEAN_COSINE) / (1 - _MEAN_COSINE)
        return quiet + (self.peak - quiet) * cosine

    def arrivals(
        self, per_day: float, chance: random.Random, start: float, until: float
    ) -> Iterator[float]:
        """Moments of a Poisson process that follows the day (thinning: Lewis and Shedler 1979)."""
        moment, most = start, per_day / DAY * self.peak
        while True:
            moment += chance.expovariate(most)
            if moment > until:
                return
            if chance.random() * self.peak < self.busyness(moment):
                yield moment


_RANGES = {
    "tenants": (1, 1e6),
    "jobs_per_day": (0.01, 1e7),
    "requests_per_second": (1e-6, 1e6),
    "peak": (1.0, MOST_PEAK),
    "models_per_tenant": (0.01, 1000),
    "bases": (1, 1000),
    "exponent": (0.0, 3.0),
    "examples": (1, 1e7),
    "epochs": (0.1, 50),
    "example_tokens": (1, 1e6),
    "learned_share": (0.0, 1.0),
    "batch": (1, 256),
    "rank": (1, 512),
    "prompt_tokens": (1, 1e6),
    "completion_tokens": (1, 1e6),
}
