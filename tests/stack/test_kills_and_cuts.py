"""One thing goes wrong at a time: no begun answer is cut, no job is lost, no adapter differs."""

from __future__ import annotations

import time

import httpx
import openai
import pytest
from tests.end_to_end.data import ask
from tests.end_to_end.platform import messages, until, wait_for_step

from .jobs import QUESTION, Jobs, finished_the_same
from .stack import POCKET, RELEASE, Stack
from .traffic import Traffic


@pytest.fixture(scope="module")
def jobs(stack: Stack) -> Jobs:
    return Jobs(stack, "Unlucky")


@pytest.fixture(scope="module")
def undisturbed(jobs: Jobs) -> str:
    """The digest of a run that nobody disturbed."""
    return jobs.digest(jobs.create())


def traffic(stack: Stack, jobs: Jobs) -> Traffic:
    return Traffic(stack.url, jobs.client.api_key, POCKET)


def test_gateways_roll_one_by_one_under_load(stack: Stack, jobs: Jobs, undisturbed: str) -> None:
    job = jobs.create()
    before = {pod.name for pod in stack.pods("gateway")}
    with traffic(stack, jobs) as load:
        until(lambda: load.finished > 3, 300)
        stack.roll("gateway")
        stack.wait_ready()
        so_far = load.finished
        until(lambda: load.finished > so_far + 3, 300)
    assert not before & {pod.name for pod in stack.pods("gateway")}
    assert load.cut == []
    assert load.refused == {}
    finished_the_same(jobs, job, undisturbed)


@pytest.mark.chaos
def test_a_gateway_that_is_killed_takes_its_own_streams_alone(
    stack: Stack, jobs: Jobs, undisturbed: str
) -> None:
    victim = stack.pod("gateway")
    job = jobs.create()
    wait_for_step(jobs.client, job, 10)
    stack.kill(victim)
    # The other one answers meanwhile; the SDK asks again where it met the dead one.
    assert jobs.client.with_options(max_retries=5).fine_tuning.jobs.retrieve(job).id == job
    stack.cluster.until(lambda: victim.ready, 60, "the gateway is back")
    finished_the_same(jobs, job, undisturbed)


@pytest.mark.chaos
@pytest.mark.parametrize("part", ["dispatcher", "evaluator"])
def test_jobs_go_on_when_a_worker_process_is_killed(
    stack: Stack, jobs: Jobs, undisturbed: str, part: str
) -> None:
    victim = stack.pod(part)
    job = jobs.create()
    wait_for_step(jobs.client, job, 30)
    stack.kill(victim)
    finished_the_same(jobs, job, undisturbed)
    stack.cluster.until(lambda: victim.ready, 90, f"the {part} is back")


def test_a_second_dispatcher_stands_by_and_takes_over(
    stack: Stack, jobs: Jobs, undisturbed: str
) -> None:
    stack.scale("dispatcher", 2)
    stack.wait_ready()
    job, other = jobs.create(), jobs.create()
    wait_for_step(jobs.client, job, 10)
    first, second = stack.pods("dispatcher")
    first.begin_end()  # whichever leads: the other one has to
    finished_the_same(jobs, job, undisturbed)
    finished_the_same(jobs, other, undisturbed)
    stack.scale("dispatcher", 1)
    stack.wait_ready()
    assert second is not None


def test_redis_may_be_cut(stack: Stack, jobs: Jobs) -> None:
    answer = ask(jobs.client, POCKET, QUESTION)
    stack.redis.freeze()
    try:
        assert ask(jobs.client, POCKET, QUESTION) == answer
    finally:
        stack.redis.thaw()
    stack.redis.stop(9)
    try:
        assert ask(jobs.client, POCKET, QUESTION) == answer
    finally:
        stack.redis.start()
    assert ask(jobs.client, POCKET, QUESTION) == answer


def test_postgresql_may_be_restarted(stack: Stack, jobs: Jobs, undisturbed: str) -> None:
    job = jobs.create()
    wait_for_step(jobs.client, job, 20)
    with traffic(stack, jobs) as load:
        until(lambda: load.finished > 0, 300)
        stack.postgresql.restart()
        so_far = load.finished
        until(lambda: load.finished > so_far + 5, 300)
    assert load.cut == []
    finished_the_same(jobs, job, undisturbed)


def test_every_tenth_call_to_s3_may_fail(stack: Stack, jobs: Jobs, undisturbed: str) -> None:
    stack.storage_proxy.every, before = 10, stack.storage_proxy.refused
    try:
        job = jobs.create()
        finished_the_same(jobs, job, undisturbed)
        assert ask(jobs.client, jobs.model(job), QUESTION)
    finally:
        stack.storage_proxy.every = 0
    assert stack.storage_proxy.refused > before


@pytest.mark.chaos
@pytest.mark.parametrize("part", ["ray-worker", "ray-head"])
def test_jobs_survive_ray(stack: Stack, jobs: Jobs, undisturbed: str, part: str) -> None:
    job = jobs.create()
    wait_for_step(jobs.client, job, 30)
    for victim in stack.pods(part):
        stack.kill(victim)
    finished_the_same(jobs, job, undisturbed)
    stack.wait_ready()


@pytest.mark.chaos
def test_an_engine_that_is_killed_is_asked_for_nothing_while_it_is_away(
    stack: Stack, jobs: Jobs, undisturbed: str
) -> None:
    job = jobs.create()
    finished_the_same(jobs, job, undisturbed)
    answer = ask(jobs.client, jobs.model(job), QUESTION)
    victim = stack.pod("engine")
    stack.kill(victim)

    def answers() -> bool:
        try:
            return ask(jobs.client, jobs.model(job), QUESTION) == answer
        except openai.APIStatusError:
            return False

    until(answers, 120)
    with traffic(stack, jobs) as load:
        until(lambda: load.finished > 5, 300)
    assert (load.cut, load.refused) == ([], {})
    stack.cluster.until(lambda: victim.ready, 600, "the engine is back")


@pytest.mark.chaos
def test_an_engine_drains_under_streaming_load(stack: Stack, jobs: Jobs) -> None:
    leaving = stack.pod("engine")
    with traffic(stack, jobs) as load:
        until(lambda: load.finished > 3, 300)
        stack.stop(leaving)
        stack.cluster.until(leaving.gone.is_set, 300, "the engine has ended")
        so_far = load.finished
        until(lambda: load.finished > so_far + 5, 300)
    assert load.cut == []
    assert load.refused == {}
    stack.wait_ready()


@pytest.mark.chaos
def test_engines_roll_one_by_one_under_load(stack: Stack, jobs: Jobs) -> None:
    with traffic(stack, jobs) as load:
        until(lambda: load.finished > 3, 300)
        stack.roll("engine")
        stack.wait_ready()
    assert load.cut == []
    assert load.refused == {}


@pytest.mark.chaos
def test_workers_come_and_go_with_the_queue_and_jobs_say_what_they_wait_for(
    stack: Stack, jobs: Jobs, undisturbed: str
) -> None:
    workers = f"RayCluster/{RELEASE}-ray/cpu"
    stack.apply(
        {
            "ray": {
                "autoscaler": {"idleTimeoutSeconds": 5},
                "workerGroups": {"cpu": {"minReplicas": 0}},
            },
            "settings": {"cohort_idle_seconds": 5},
        }
    )
    stack.cluster.until(lambda: not stack.pods("ray-worker"), 180, "idle workers are gone")
    stack.wait_ready()

    stack.cluster.full.add(workers)  # as where no GPU is left in the cluster
    job = jobs.create()
    until(
        lambda: any("wait" in message for message in messages(jobs.client, job)),
        120,
        lambda: "\n".join(messages(jobs.client, job)),
    )
    assert jobs.client.fine_tuning.jobs.retrieve(job).status == "queued"
    assert not stack.pods("ray-worker")

    stack.cluster.full.clear()
    finished_the_same(jobs, job, undisturbed)
    assert stack.pods("ray-worker")


def test_everything_is_as_it_was(stack: Stack, jobs: Jobs) -> None:
    """After all that: ready, and no container has given up."""
    stack.wait_ready()
    ready = httpx.get(f"{stack.url}/readyz", timeout=10)
    assert ready.status_code == 200, ready.text
    deadline = time.monotonic() + 60
    while ask(jobs.client, POCKET, QUESTION) == "":
        assert time.monotonic() < deadline
