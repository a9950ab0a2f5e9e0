"""kill -9, one part after the other: every job ends with the adapter of an undisturbed run."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI

from .data import ask, csv_pairs, upload
from .platform import Platform, messages, succeeded, until, wait_for_step

BASE = "tunesmith-pocket"
QUESTION = "where does ticket 3 about the west box go?"


class Jobs:
    """The same job again and again."""

    def __init__(self, client: OpenAI) -> None:
        self.client = client
        self._file = upload(client, csv_pairs(40))

    def create(self) -> str:
        return self.client.fine_tuning.jobs.create(
            model=BASE,
            training_file=self._file,
            seed=21,
            hyperparameters={"n_epochs": 12, "batch_size": 2},
        ).id


@pytest.fixture(scope="module")
def jobs(platform: Platform) -> Jobs:
    return Jobs(platform.tenant("Unlucky"))


@pytest.fixture(scope="module")
def undisturbed(platform: Platform, jobs: Jobs) -> str:
    """The digest of a run that nobody disturbed."""
    return digest_of(platform, jobs, jobs.create())


def digest_of(platform: Platform, jobs: Jobs, job_id: str) -> str:
    model = succeeded(jobs.client, job_id).fine_tuned_model
    assert model is not None
    return platform.digest(model)


@pytest.mark.parametrize("part", ["trainer", "dispatcher"])
def test_a_job_survives_its_worker(
    platform: Platform, jobs: Jobs, undisturbed: str, part: str
) -> None:
    job = jobs.create()
    wait_for_step(jobs.client, job, 30)
    platform.kill_part(part)
    assert digest_of(platform, jobs, job) == undisturbed
    told = messages(jobs.client, job)
    assert any("the job goes on from step" in message for message in told), told


def test_a_job_survives_the_gateway(platform: Platform, jobs: Jobs, undisturbed: str) -> None:
    job = jobs.create()
    wait_for_step(jobs.client, job, 20)
    platform.kill_part("gateway")

    def answers() -> bool:
        try:
            return bool(jobs.client.fine_tuning.jobs.retrieve(job).id)
        except (openai.APIConnectionError, openai.InternalServerError):  # away, then starting
            return False

    until(answers, 120)
    assert digest_of(platform, jobs, job) == undisturbed


def test_the_engine_comes_back_with_its_adapters(
    platform: Platform, jobs: Jobs, undisturbed: str
) -> None:
    done = succeeded(jobs.client, jobs.create())
    model = done.fine_tuned_model
    assert model is not None
    before = ask(jobs.client, model, QUESTION)
    job = jobs.create()
    wait_for_step(jobs.client, job, 10)
    platform.kill_part("engine")

    impatient = jobs.client.with_options(max_retries=0)
    with pytest.raises(openai.APIStatusError) as refusal:
        until(lambda: ask(impatient, model, QUESTION) is None, 20)
    assert refusal.value.status_code == 503
    assert int(refusal.value.response.headers["retry-after"]) >= 1

    def answered() -> bool:
        try:
            return ask(impatient, model, QUESTION) == before
        except openai.InternalServerError:  # 503 until the engine is back
            return False

    until(answered, 180)
    assert digest_of(platform, jobs, job) == undisturbed
