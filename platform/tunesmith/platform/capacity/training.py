"""The simulation of training: jobs in a fair queue, cohorts that come and go with it."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from simpy import Environment
from simpy.events import Event

from .sharing import SharedServer
from .speeds import Cohort
from .theory import zipf
from .turns import Turns
from .workload import Workload

_SPREAD = 1.0
"""Standard deviation of the logarithm of a job's size: the largest of a hundred is 10 medians."""
_MOST_TENANTS = 20_000
"""Tenants that are told apart; those beyond hardly ever have two jobs at once."""


@dataclass(frozen=True)
class TrainingFleet:
    """What trains.

    Attributes:
        cohort: each GPU that trains.
        most, least: GPU workers that there may be, and that there always are.
        per_base: cohorts of one base at once.
        worker_seconds: from asking for a GPU worker until it runs.
        idle_seconds: after which an idle cohort gives its GPU back, and after which an idle
            worker ends.
        preparation_seconds, publication_seconds: before a job can train, and after it.
    """

    cohort: Cohort
    most: int
    least: int
    per_base: int
    worker_seconds: float
    idle_seconds: float
    preparation_seconds: float
    publication_seconds: float


@dataclass(frozen=True)
class JobArrival:
    """A job that is created: when, whose, of which base, and how many tokens it trains."""

    moment: float
    tenant: int
    base: int
    tokens: float


@dataclass
class TrainingOutcome:
    """What came of it.

    Attributes:
        waits: seconds from a job's creation to its start, of those that are measured.
        trainings: seconds of their training.
        tenants: whose each of them was.
        arrived, finished, left: jobs in all: left are those in the queue or in training at the end.
        gpu_seconds: of workers that ran, idle ones included, while it was measured.
        seconds: that were measured.
    """

    waits: list[float] = field(default_factory=list)
    trainings: list[float] = field(default_factory=list)
    tenants: list[int] = field(default_factory=list)
    arrived: int = 0
    finished: int = 0
    left: int = 0
    most_waiting: int = 0
    gpu_seconds: float = 0.0
    seconds: float = 0.0


def arriving_jobs(workload: Workload, start: float, until: float, seed: int) -> list[JobArrival]:
    """Jobs from one moment (seconds after midnight) to another, by chance; moments from `start`.

    Tenants are Zipf, the popular ones first; sizes are log-normal.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    tenants = min(workload.tenants, _MOST_TENANTS)
    edges = list(accumulate(zipf(tenants, workload.exponent)))
    middle = workload.job_tokens
    shift = -_SPREAD * _SPREAD / 2  # so that the mean is as given
    return [
        JobArrival(
            moment - start,
            min(bisect(edges, chance.random()), tenants - 1),
            chance.randrange(workload.bases),
            middle * chance.lognormvariate(shift, _SPREAD),
        )
        for moment in workload.arrivals(workload.jobs_per_day, chance, start, until)
    ]


class _Running:
    """One cohort: a base on a GPU worker."""

    def __init__(self, env: Environment, base: int, cohort: Cohort) -> None:
        self.base = base
        self.server = SharedServer(env, cohort.job_speed)
        self.ready = False
        self.idle_since = 0.0

    @property
    def jobs(self) -> int:
        return len(self.server)


class TrainingSimulation:
    """Dispatcher, Ray's autoscaler and cohorts in virtual time."""

    def __init__(self, fleet: TrainingFleet, bases: int, *, measured_from: float = 0.0) -> None:
        self._env = Environment()
        self._fleet = fleet
        self._queues: list[Turns[JobArrival]] = [Turns() for _ in range(bases)]
        self._cohorts: list[_Running] = []
        self._spare = fleet.least
        """Workers that run without a cohort; at the start the least there are."""
        self._workers = fleet.least
        self._from = measured_from
        self._workers_since = 0.0
        self.outcome = TrainingOutcome()

    def run(self, jobs: Sequence[JobArrival], until: float) -> TrainingOutcome:
        """Let the jobs come, up to a moment; those that have not started by then are `left`."""
        self._env.process(self._arrivals(jobs))
        self._env.run(until=until)
        self._count_workers(0)
        out = self.outcome
        out.seconds = until - self._from
        out.left = out.arrived - out.finished
        return out

    def _arrivals(self, jobs: Iterable[JobArrival]) -> Generator[Event, object, None]:
        for job in jobs:
            yield self._env.timeout(job.moment - self._env.now)
            self.outcome.arrived += 1
            self._after(self._fleet.preparation_seconds, self._queued, job)

    def _queued(self, job: JobArrival) -> None:
        self._queues[job.base].put(job.tenant, job)
        waiting = sum(map(len, self._queues))
        self.outcome.most_waiting = max(self.outcome.most_waiting, waiting)
        self._assign(job.base)

    def _assign(self, base: int) -> None:
        """Fill free slots, the emptiest cohort first; ask for another when all are full."""
        queue = self._queues[base]
        slots = self._fleet.cohort.slots
        mine = [cohort for cohort in self._cohorts if cohort.base == base]
        while len(queue):
            free = [cohort for cohort in mine if cohort.ready and cohort.jobs < slots]
            if not free:
                break
            self._start(min(free, key=lambda cohort: cohort.jobs), *queue.take())
        starting = sum(slots for cohort in mine if not cohort.ready)
        if len(queue) > starting and len(mine) < self._fleet.per_base:
            self._grow(base)

    def _start(self, cohort: _Running, tenant: int, job: JobArrival) -> None:
        now = self._env.now
        if job.moment >= self._from:
            self.outcome.waits.append(max(0.0, now - job.moment))  # moments are rounded
            self.outcome.tenants.append(tenant)

        def done() -> None:
            if job.moment >= self._from:
                self.outcome.trainings.append(self._env.now - now)
            self.outcome.finished += 1
            self._queues[job.base].ended(tenant)
            if not cohort.jobs:
                self._idle(cohort)
            self._assign(job.base)

        cohort.server.add(job.tokens, done)

    def _grow(self, base: int) -> None:
        fleet = self._fleet
        if len(self._cohorts) >= fleet.most:
            return
        cohort = _Running(self._env, base, fleet.cohort)
        self._cohorts.append(cohort)
        if self._spare:
            self._spare -= 1
            self._after(fleet.cohort.start_seconds, self._ready, cohort)
        else:
            self._after(fleet.worker_seconds, self._worker_runs, cohort)

    def _worker_runs(self, cohort: _Running) -> None:
        self._count_workers(1)
        self._after(self._fleet.cohort.start_seconds, self._ready, cohort)

    def _ready(self, cohort: _Running) -> None:
        cohort.ready = True
        self._idle(cohort)
        self._assign(cohort.base)

    def _idle(self, cohort: _Running) -> None:
        since = cohort.idle_since = self._env.now

        def give_back() -> None:
            if cohort.jobs or cohort.idle_since != since or cohort not in self._cohorts:
                return
            self._cohorts.remove(cohort)
            self._spare += 1
            self._after(self._fleet.idle_seconds, self._end_worker)
            for base, queue in enumerate(self._queues):  # another may wait for this GPU
                if len(queue):
                    self._assign(base)

        self._after(self._fleet.idle_seconds, give_back)

    def _end_worker(self) -> None:
        if self._spare and self._workers > self._fleet.least:
            self._spare -= 1
            self._count_workers(-1)

    def _count_workers(self, change: int) -> None:
        now = self._env.now
        since = max(self._workers_since, self._from)
        if now > since:
            self.outcome.gpu_seconds += (now - since) * self._workers
        self._workers_since = now
        self._workers += change

    def _after(self, seconds: float, what: Callable[..., None], *arguments: object) -> None:
        self._env.timeout(seconds).callbacks.append(lambda _: what(*arguments))
