"""Two tenants who cannot see each other."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest
from openai import OpenAI

from .data import ask, csv_pairs, upload
from .platform import Platform, succeeded

BASE = "tunesmith-pocket"


@pytest.fixture(scope="module")
def owner(platform: Platform) -> OpenAI:
    return platform.tenant("Owner")


@pytest.fixture(scope="module")
def stranger(platform: Platform) -> OpenAI:
    return platform.tenant("Stranger")


@pytest.fixture(scope="module")
def theirs(owner: OpenAI) -> dict[str, str]:
    file = upload(owner, csv_pairs(10, "secret {word}"))
    job = owner.fine_tuning.jobs.create(
        model=BASE, training_file=file, hyperparameters={"n_epochs": 1}
    )
    done = succeeded(owner, job.id)
    assert done.fine_tuned_model is not None
    return {"file": file, "job": job.id, "model": done.fine_tuned_model}


ATTEMPTS: dict[str, Callable[[OpenAI, dict[str, str]], object]] = {
    "read a file": lambda c, x: c.files.retrieve(x["file"]),
    "download a file": lambda c, x: c.files.content(x["file"]),
    "delete a file": lambda c, x: c.files.delete(x["file"]),
    "read a job": lambda c, x: c.fine_tuning.jobs.retrieve(x["job"]),
    "cancel a job": lambda c, x: c.fine_tuning.jobs.cancel(x["job"]),
    "pause a job": lambda c, x: c.fine_tuning.jobs.pause(x["job"]),
    "resume a job": lambda c, x: c.fine_tuning.jobs.resume(x["job"]),
    "read events": lambda c, x: c.fine_tuning.jobs.list_events(x["job"]),
    "read checkpoints": lambda c, x: c.fine_tuning.jobs.checkpoints.list(x["job"]),
    "read a model": lambda c, x: c.models.retrieve(x["model"]),
    "delete a model": lambda c, x: c.models.delete(x["model"]),
    "ask a model": lambda c, x: ask(c, x["model"], "hi"),
    "continue from a model": lambda c, x: c.fine_tuning.jobs.create(
        model=x["model"], training_file=upload(c, csv_pairs(10))
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_what_is_anothers_does_not_exist(
    stranger: OpenAI,
    theirs: dict[str, str],
    attempt: Callable[[OpenAI, dict[str, str]], object],
) -> None:
    with pytest.raises(openai.NotFoundError):
        attempt(stranger, theirs)


def test_anothers_file_cannot_be_trained_on(stranger: OpenAI, theirs: dict[str, str]) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match="does not exist"):
        stranger.fine_tuning.jobs.create(model=BASE, training_file=theirs["file"])


def test_lists_hold_the_callers_own_alone(
    owner: OpenAI, stranger: OpenAI, theirs: dict[str, str]
) -> None:
    assert theirs["file"] in {file.id for file in owner.files.list()}
    assert theirs["file"] not in {file.id for file in stranger.files.list()}
    assert theirs["job"] not in {job.id for job in stranger.fine_tuning.jobs.list()}
    assert theirs["model"] not in {model.id for model in stranger.models.list()}
    assert ask(owner, theirs["model"], "hi") is not None


def test_the_digest_is_no_way_in(
    stranger: OpenAI, theirs: dict[str, str], platform: Platform
) -> None:
    with pytest.raises(openai.NotFoundError):
        ask(stranger, platform.digest(theirs["model"]), "hi")


def test_a_wrong_key_is_refused(platform: Platform) -> None:
    with pytest.raises(openai.AuthenticationError):
        platform.client("sk-ts-wrong").models.list()


def test_a_revoked_key_stops(platform: Platform) -> None:
    made = platform.cli("tenants", "create", "Short-lived")
    client = platform.client(made["key"])
    assert client.models.list().data
    platform.cli("keys", "revoke", made["key_id"], "--tenant", made["id"])

    def refused() -> bool:
        try:
            client.models.list()
        except openai.AuthenticationError:
            return True
        return False

    from .platform import until

    until(refused, 10)
