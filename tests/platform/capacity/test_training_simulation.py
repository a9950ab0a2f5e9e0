"""Training in virtual time: against queueing theory, and the promises of the real queue."""

from __future__ import annotations

import random
import statistics
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment
from simpy.events import Event

from tunesmith.platform.capacity.sharing import SharedServer
from tunesmith.platform.capacity.speeds import Cohort
from tunesmith.platform.capacity.theory import mean_wait
from tunesmith.platform.capacity.training import (
    JobArrival,
    TrainingFleet,
    TrainingSimulation,
    arriving_jobs,
)
from tunesmith.platform.capacity.turns import Turns
from tunesmith.platform.capacity.workload import DAY, Workload
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import queue

if TYPE_CHECKING:
    from tests.platform.conftest import World

BASE = "pocket"
"""That the world registers."""

ONE_TOKEN_A_SECOND = Cohort(
    slots=1,
    start_seconds=0.0,
    quantized=False,
    batch_tokens=1.0,
    pass_tokens=1.0,
    pass_seconds=0.0,
    token_seconds=1.0,
)
"""So that a job's tokens are its seconds."""


def fleet(
    most: int, least: int | None = None, cohort: Cohort = ONE_TOKEN_A_SECOND
) -> TrainingFleet:
    return TrainingFleet(
        cohort=cohort,
        most=most,
        least=most if least is None else least,
        per_base=most,
        worker_seconds=300.0,
        idle_seconds=600.0,
        preparation_seconds=0.0,
        publication_seconds=0.0,
    )


def poisson(rate: float, mean_tokens: float, count: int, seed: int = 3) -> list[JobArrival]:
    chance, moment, jobs = random.Random(seed), 0.0, []
    for number in range(count):
        moment += chance.expovariate(rate)
        jobs.append(JobArrival(moment, number % 50, 0, chance.expovariate(1 / mean_tokens)))
    return jobs


@pytest.mark.parametrize(("cohorts", "busy"), [(1, 0.6), (5, 0.75)])
def test_waits_are_erlangs(cohorts: int, busy: float) -> None:
    jobs = poisson(rate=cohorts * busy / 100, mean_tokens=100, count=10_000)
    # Cohorts that start in no time and hold one job each are the servers of M/M/c.
    simulation = TrainingSimulation(
        replace(fleet(cohorts), idle_seconds=1e12), 1, measured_from=jobs[1_000].moment
    )
    outcome = simulation.run(jobs, jobs[-1].moment + 1e5)
    # Of what came by chance: a hundredth more load is a tenth more wait.
    service = statistics.fmean(job.tokens for job in jobs)
    load = len(jobs) / jobs[-1].moment * service
    expected = mean_wait(cohorts, load, service)
    assert statistics.fmean(outcome.waits) == pytest.approx(expected, rel=0.1)


def test_shared_work_takes_as_long_as_in_m_m_1_processor_sharing() -> None:
    env = Environment()
    server = SharedServer(env, lambda count: 1 / count)
    chance = random.Random(5)
    times: list[float] = []

    def customers() -> Generator[Event, object, None]:
        for _ in range(8_000):
            yield env.timeout(chance.expovariate(0.5))
            server.add(chance.expovariate(1.0), partial(ended, env.now))

    def ended(began: float) -> None:
        times.append(env.now - began)

    env.process(customers())
    env.run()
    # Mean time there: service / (1 - load), whatever the distribution of the service.
    assert statistics.fmean(times) == pytest.approx(2.0, rel=0.08)


def test_work_stands_still_while_it_is_held() -> None:
    env = Environment()
    server = SharedServer(env, lambda _: 1.0)
    ended: list[float] = []
    server.add(10.0, lambda: ended.append(env.now))
    env.run(until=4)
    server.hold()
    env.run(until=9)
    server.release()
    env.run()
    assert ended == [15.0]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 5000), st.integers(0, 4), st.integers(0, 1), st.floats(1, 3000)),
        max_size=40,
    ),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
)
def test_no_job_is_lost_or_trained_twice(
    drawn: list[tuple[float, int, int, float]], most: int, slots: int, from_zero: bool
) -> None:
    jobs = [JobArrival(*job) for job in sorted(drawn)]
    cohort = replace(ONE_TOKEN_A_SECOND, slots=slots, start_seconds=30.0)
    simulation = TrainingSimulation(fleet(most, 0 if from_zero else most, cohort), 2)
    outcome = simulation.run(jobs, 1e7)
    assert (outcome.arrived, outcome.finished, outcome.left) == (len(jobs), len(jobs), 0)
    assert len(outcome.waits) == len(outcome.trainings) == len(jobs)
    assert min(outcome.waits, default=0.0) >= 0
    # Nobody trains faster than alone.
    assert sum(outcome.trainings) >= sum(job.tokens for job in jobs) * (1 - 1e-9)


def test_a_cohort_from_zero_takes_a_worker_and_its_base() -> None:
    cohort = replace(ONE_TOKEN_A_SECOND, start_seconds=40.0)
    jobs = [JobArrival(100.0, 0, 0, 50.0), JobArrival(500.0, 0, 0, 50.0)]
    outcome = TrainingSimulation(fleet(1, 0, cohort), 1).run(jobs, 10_000.0)
    # The second one meets the cohort that the first one left idle.
    assert outcome.waits == [340.0, 0.0]
    # From 400 on to 540 and 550: an idle cohort gives its GPU back after 600 s, which goes then.
    assert outcome.gpu_seconds == pytest.approx(550 + 600 + 600 - 400)


def test_a_tenant_with_a_thousand_jobs_does_not_hold_up_one_with_a_single_job() -> None:
    flood = [JobArrival(1.0 + n / 1000, 0, 0, 100.0) for n in range(1000)]
    single = JobArrival(50.0, 1, 0, 100.0)
    simulation = TrainingSimulation(fleet(2), 1)
    outcome = simulation.run(sorted([*flood, single], key=lambda job: job.moment), 1e6)
    waited = dict(zip(outcome.tenants, outcome.waits, strict=True))[1]
    assert waited <= 100.0
    assert statistics.fmean(outcome.waits) > 10_000


def test_turns_are_those_of_the_database(sqlite_world: World) -> None:
    """The same jobs, claimed and ended in the same order by both."""
    world, chance = sqlite_world, random.Random(11)
    tenants = [world.tenant(f"tenant {number}") for number in range(4)]
    turns: Turns[str] = Turns()
    in_work: list[tuple[int, queue.Lease]] = []
    taken = 0
    for _ in range(70):
        choice = chance.random()
        if choice < 0.45:
            number = chance.choice([0, 0, 0, 1, 2, 3])
            turns.put(number, world.prepared_job(tenants[number]))
        elif choice < 0.8 and len(turns):
            with world.database.transaction() as session:
                lease = queue.claim(session, "test", 1e6, status=JobStatus.QUEUED, bases=[BASE])
            assert lease is not None
            tenant, job = turns.take()
            assert lease.job_id == job
            with world.database.transaction() as session:
                queue.begin(session, lease, "begun")
            in_work.append((tenant, lease))
            taken += 1
        elif in_work:
            tenant, lease = in_work.pop(chance.randrange(len(in_work)))
            with world.database.transaction() as session:
                world.complete(session, lease)
            turns.ended(tenant)
    assert taken > 15


def test_jobs_come_by_the_day() -> None:
    workload = Workload(tenants=100, jobs_per_day=20_000, requests_per_second=1, peak=3.0)
    jobs = arriving_jobs(workload, 0.0, DAY, seed=2)
    assert len(jobs) == pytest.approx(20_000, rel=0.03)
    busiest = sum(13 * 3600 <= job.moment < 15 * 3600 for job in jobs)
    assert busiest == pytest.approx(20_000 * 2 / 24 * 3, rel=0.08)
    assert statistics.fmean(job.tokens for job in jobs) == pytest.approx(
        workload.job_tokens, rel=0.1
    )
    by_tenant = sum(job.tenant == 0 for job in jobs) / len(jobs)
    assert by_tenant == pytest.approx(1 / sum(1 / n for n in range(1, 101)), rel=0.1)
