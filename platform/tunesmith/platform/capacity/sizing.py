"""The smallest fleets that meet their targets: an estimate first, the simulation decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from .estimate import engines_for, offered_gpus, training_gpus
from .serving import Demand, Residency, ServingOutcome, ServingSimulation
from .speeds import Cohort, Engine
from .theory import zipf
from .training import TrainingFleet, TrainingOutcome, TrainingSimulation, arriving_jobs
from .workload import DAY, Workload

_JOBS = 4_000
"""Jobs of a simulation, about; fewer where there are few, over at most 200 days."""
_MOST_JOBS = 10_000
_REQUESTS = 6_000
_SPARE = (1.1, 1.3)
"""Times the fewest GPU workers, where these would have to run always."""
_ENGINES = 4
"""Engines that are simulated of a larger fleet, with their part of requests and adapters."""
_MOST_MODELS = 200_000
"""Models that are told apart; of more, neighbours in popularity are taken together."""

_Outcome = TypeVar("_Outcome")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True)
class TrainingSize:
    """GPUs that train, and what comes of them.

    Attributes:
        workers_mean: GPU workers that run in the mean of a day, idle ones included.
        met: whether 95 % of the jobs start within the target.
        simulated_share: of the fleet and its jobs that was simulated.
    """

    most: int
    least: int
    outcome: TrainingOutcome
    workers_mean: float
    met: bool
    simulated_share: float

    def wait(self, share: float) -> float:
        return percentile(self.outcome.waits, share)

    def training(self, share: float) -> float:
        return percentile(self.outcome.trainings, share)


@dataclass(frozen=True)
class ServingSize:
    """Engines of one base, and what comes of them."""

    engines: int
    outcome: ServingOutcome
    met: bool
    simulated_share: float

    def first_token(self, share: float) -> float:
        return percentile(self.outcome.first_tokens, share)

    @property
    def cold_share(self) -> float:
        return self.outcome.cold / max(1, self.outcome.requests)


def size_training(
    workload: Workload,
    cohort: Cohort,
    fleet: TrainingFleet,
    wait: float,
    seed: int,
) -> TrainingSize:
    """The fewest GPU workers with which 95 % of jobs start within `wait` seconds.

    First all of them always run; then as few of them as still meet the target, since those beyond
    come and go with the queue. Some more that come and go cost less than some fewer that stay.

    Args:
        fleet: everything but its numbers of workers.
    """
    limit = fleet.per_base * workload.bases
    first = min(limit, training_gpus(workload, cohort, max(wait, 1.0)))
    lowest = min(limit, max(1, math.ceil(offered_gpus(workload, cohort))))

    def run(most: int, least: int) -> TrainingSize:
        return simulate_training(workload, replace(fleet, most=most, least=least), wait, seed)

    found = _fewest(lambda count: run(count, count), first, lowest, limit, lambda size: size.met)
    if not found.met:
        return found
    for most in sorted({found.most, *(math.ceil(found.most * more) for more in _SPARE)}):
        for least in sorted({0, 1, most // 4, most // 2}):
            if least < most <= limit and (fewer := run(most, least)).met:
                return fewer if fewer.workers_mean < found.most else found
    return found


def simulate_training(
    workload: Workload, fleet: TrainingFleet, wait: float, seed: int
) -> TrainingSize:
    """One fleet: whole days where jobs are few, the hours about the peak where they are many."""
    per_day = workload.jobs_per_day
    days = min(200.0, max(1.0, _JOBS / per_day))
    if days > 1:
        start, warm, seconds = 0.0, 0.1 * days * DAY, 1.1 * days * DAY
    else:
        start, warm, seconds = 9 * 3600.0, 2 * 3600.0, 8 * 3600.0
    expected = per_day * seconds / DAY * workload.peak
    slices = max(1, min(math.ceil(expected / _MOST_JOBS), fleet.most // 4, 1_000))
    if workload.bases > 1:
        slices = 1
    part = replace(
        workload,
        jobs_per_day=per_day / slices,
        tenants=max(1, workload.tenants // slices),
    )
    small = replace(
        fleet,
        most=max(1, fleet.most // slices),
        least=fleet.least // slices,
        per_base=max(1, fleet.per_base // slices),
    )
    jobs = arriving_jobs(part, start, start + seconds, seed)
    outcome = TrainingSimulation(small, workload.bases, measured_from=warm).run(jobs, seconds)
    workers = outcome.gpu_seconds / outcome.seconds * fleet.most / small.most
    if days <= 1:  # of the busy hours; the rest of the day has fewer
        hours = [start + warm + step * 600 for step in range(int((seconds - warm) // 600))]
        busy = sum(map(workload.busyness, hours)) / len(hours)
        workers = max(float(fleet.least), workers / busy)
    measured = sum(job.moment >= warm for job in jobs)
    share = len(outcome.waits) / max(1, measured)
    # Jobs that never start are no reason to call the others' waits short.
    met = share >= 0.98 and percentile(outcome.waits, 0.95) <= wait
    if not outcome.waits:
        met = outcome.arrived == 0
    return TrainingSize(fleet.most, fleet.least, outcome, workers, met, small.most / fleet.most)


def size_engines(
    workload: Workload,
    engine: Engine,
    first_token: float,
    seed: int,
    residency: Residency = "worth",
) -> ServingSize:
    """The fewest engines of one base with which 95 % of requests have their first token in time."""
    rate = peak_rate(workload) / workload.bases
    all_rate = rate + evaluation_rate(workload) / workload.bases
    first = engines_for(engine, all_rate, workload.completion_tokens)
    return _fewest(
        lambda count: simulate_engines(
            workload, engine, count, first_token=first_token, seed=seed, residency=residency
        ),
        first,
        first,
        max(64, 8 * first),
        lambda size: size.met,
    )


def simulate_engines(
    workload: Workload,
    engine: Engine,
    engines: int,
    *,
    first_token: float,
    seed: int,
    residency: Residency = "worth",
) -> ServingSize:
    """One fleet in the busiest hour; of a large one some engines with their part of everything."""
    few = min(engines, _ENGINES)
    part = few / engines / workload.bases
    rate = peak_rate(workload) * part
    evaluations = evaluation_rate(workload) * part
    demand = Demand(
        rate=rate,
        shares=_shares(workload, part),
        completion_tokens=workload.completion_tokens,
        base_rate=evaluations / 2,
        fresh_rate=evaluations / 2,
        publications=workload.jobs_per_day / DAY * workload.peak / workload.bases,
    )
    simulation = ServingSimulation(engine, few, demand, residency=residency, seed=seed)
    # Where most requests are evaluations', fewer of the clients' are waited for.
    counted = int(max(_REQUESTS / 4, _REQUESTS * rate / (rate + evaluations)))
    step = engine.step(engine.max_running)
    warm = int(max(counted / 5, min(counted, 2 * rate * workload.completion_tokens * step)))
    outcome = simulation.run(warm, counted)
    late = percentile(outcome.first_tokens, 0.95)
    answered = len(outcome.first_tokens) >= 0.98 * outcome.requests
    met = outcome.carried and answered and late <= first_token
    return ServingSize(engines, outcome, met, few / engines)


def peak_rate(workload: Workload) -> float:
    """Clients' requests a second at the busiest moment."""
    return workload.requests_per_second * workload.peak


def evaluation_rate(workload: Workload) -> float:
    """Evaluations' requests a second at the busiest moment."""
    return workload.jobs_per_day / DAY * workload.peak * workload.evaluation_requests


def _shares(workload: Workload, part: float) -> list[float]:
    """Popularity among the models of a part of the engines, neighbours taken together."""
    all_models = max(1, workload.models // workload.bases)
    together = max(1.0, 1 / part / workload.bases, all_models / _MOST_MODELS)
    count = max(1, round(all_models / together))
    if count == all_models:
        return zipf(count, workload.exponent)
    # The sum of a bucket of ranks, by its integral's midpoint.
    weights = [((rank + 0.5) * together + 0.5) ** -workload.exponent for rank in range(count)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _fewest(
    run: Callable[[int], _Outcome],
    first: int,
    lowest: int,
    limit: int,
    good: Callable[[_Outcome], bool],
) -> _Outcome:
    """The smallest count that is good: upward from `first` in growing steps, then back by halves.

    Not good at all, `limit` itself.
    """
    count, outcome = first, run(first)
    bad = lowest - 1
    while not good(outcome):
        if count >= limit:
            return outcome
        bad, count = count, min(limit, count + max(1, math.ceil(count / 8)))
        outcome = run(count)
    while count - bad > max(1, count // 20):
        middle = max(bad + 1, count - max(1, (count - bad) // 2))
        trial = run(middle)
        if good(trial):
            count, outcome = middle, trial
        else:
            bad = middle
    return outcome
