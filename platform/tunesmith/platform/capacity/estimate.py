"""Closed forms: how much one cohort and one engine carry, and where a search begins."""

from __future__ import annotations

import math

from .speeds import Cohort, Engine
from .theory import wait_quantile
from .workload import DAY, Workload


def offered_gpus(workload: Workload, cohort: Cohort) -> float:
    """GPUs that training keeps busy in the mean, all slots in use."""
    tokens = workload.jobs_per_day / DAY * workload.job_tokens
    return tokens / cohort.tokens_per_second(cohort.slots)


def training_gpus(workload: Workload, cohort: Cohort, wait: float) -> int:
    """GPUs with which 95 % of jobs wait at most `wait` seconds at the peak, by M/M/c.

    Every slot is a server that has its part of its cohort's speed.
    """
    busy = offered_gpus(workload, cohort) * workload.peak
    service = workload.job_tokens * cohort.slots / cohort.tokens_per_second(cohort.slots)
    gpus = max(1, math.floor(busy) + 1)
    while wait_quantile(gpus * cohort.slots, busy * cohort.slots, service, 0.95) > wait:
        gpus += max(1, gpus // 50)
    return gpus


def engine_rate(engine: Engine, completion_tokens: float) -> float:
    """Requests a second of one engine whose batch is always full.

    Each takes its prompt's time alone, and its answer's steps together with the batch.
    """
    steps = completion_tokens * engine.step(engine.max_running) / engine.max_running
    return 1 / (engine.prompt_seconds + steps)


def running(engine: Engine, rate: float, completion_tokens: float) -> float:
    """Requests in an engine's batch at this rate (Little's law); infinite beyond its capacity.

    n = rate C (t0 + n t1) / (1 - rate p): steps take longer with more in them, and prompts take
    their part of the time.
    """
    left = 1 - rate * engine.prompt_seconds - rate * completion_tokens * engine.sequence_seconds
    if left <= 0:
        return math.inf
    return rate * completion_tokens * engine.step_seconds / left


def engines_for(engine: Engine, rate: float, completion_tokens: float) -> int:
    """Fewest engines that carry this rate at all."""
    return max(1, math.floor(rate / engine_rate(engine, completion_tokens)) + 1)


def gateway_cores(
    rate: float, completion_tokens: float, request_seconds: float, chunk_seconds: float
) -> float:
    """CPU cores that gateways keep busy; every answer is streamed token by token."""
    return rate * (request_seconds + completion_tokens * chunk_seconds)
