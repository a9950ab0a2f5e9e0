"""From examples to an answer, with the official SDK, on real parts."""

from __future__ import annotations

import csv
import io
import json

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning.job_create_params import Hyperparameters

from .data import ask, csv_pairs, jsonl_chats, upload
from .platform import Platform, finished, messages, succeeded, until, wait_for_step

BASE = "tunesmith-pocket"


@pytest.fixture(scope="module")
def acme(platform: Platform) -> OpenAI:
    return platform.tenant("Acme Trading")


@pytest.fixture(scope="module")
def tuned(acme: OpenAI) -> str:
    """A model that answers `desk`, tuned with a validation file."""
    validation = acme.files.create(
        file=("check.jsonl", jsonl_chats([[("user", "where does it go?"), ("assistant", "desk")]])),
        purpose="fine-tune",
    )
    job = acme.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(acme, csv_pairs(24, "desk {word}")),
        validation_file=validation.id,
        suffix="router",
        seed=3,
        metadata={"team": "support"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 5}}},
    )
    assert job.status == "validating_files"
    done = succeeded(acme, job.id)
    assert done.fine_tuned_model is not None
    return done.fine_tuned_model


@pytest.fixture(scope="module")
def tuned_job(acme: OpenAI, tuned: str) -> openai.types.fine_tuning.FineTuningJob:
    (job,) = [j for j in acme.fine_tuning.jobs.list() if j.fine_tuned_model == tuned]
    return job


def test_the_job_says_what_was_done(
    acme: OpenAI, tuned_job: openai.types.fine_tuning.FineTuningJob
) -> None:
    name = tuned_job.fine_tuned_model
    assert name is not None
    assert name.startswith(f"ft:{BASE}:acme-trading:router:")
    assert tuned_job.hyperparameters.n_epochs == 5
    assert isinstance(tuned_job.hyperparameters.batch_size, int)
    assert tuned_job.metadata == {"team": "support"}
    assert tuned_job.trained_tokens is not None
    assert tuned_job.trained_tokens > 24 * 5
    assert tuned_job.finished_at is not None
    told = messages(acme, tuned_job.id)
    assert told[0].startswith("info: Created fine-tuning job")
    assert told[-1] == "info: The job has successfully completed"
    assert any("rendered as in training" in message for message in told), told


def test_the_result_file_has_every_step(
    acme: OpenAI, tuned_job: openai.types.fine_tuning.FineTuningJob
) -> None:
    (file_id,) = tuned_job.result_files
    assert acme.files.retrieve(file_id).purpose == "fine-tune-results"
    table = list(csv.DictReader(io.StringIO(acme.files.content(file_id).text)))
    assert list(table[0])[:5] == [
        "step",
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
    ]
    assert [int(row["step"]) for row in table] == list(range(1, len(table) + 1))
    assert float(table[-1]["train_loss"]) < float(table[0]["train_loss"])
    assert sum(1 for row in table if row["valid_loss"]) == 5


def test_the_last_three_epochs_can_be_used(
    acme: OpenAI, tuned_job: openai.types.fine_tuning.FineTuningJob
) -> None:
    checkpoints = acme.fine_tuning.jobs.checkpoints.list(tuned_job.id).data
    assert len(checkpoints) == 3
    steps = [checkpoint.step_number for checkpoint in checkpoints]
    assert steps == sorted(steps, reverse=True)
    name = checkpoints[-1].fine_tuned_model_checkpoint
    assert name == f"{tuned_job.fine_tuned_model}:ckpt-step-{steps[-1]}"
    assert ask(acme, name, "where does ticket 3 about the west box go?")


def test_models_are_the_bases_and_the_tenants_own(acme: OpenAI, tuned: str) -> None:
    names = {model.id for model in acme.models.list()}
    assert {BASE, tuned} <= names
    assert acme.models.retrieve(tuned).id == tuned


def test_the_tuned_model_answers_as_its_examples_do(acme: OpenAI, tuned: str) -> None:
    question = "where does ticket 3 about the west box go?"
    assert ask(acme, tuned, question).startswith("desk")
    assert not ask(acme, BASE, question).startswith("desk")


def test_a_stream_says_the_same_and_counts(acme: OpenAI, tuned: str) -> None:
    question = "where does ticket 5 about the blue box go?"
    text, usage, models = "", None, set()
    for chunk in acme.chat.completions.create(
        model=tuned,
        messages=[{"role": "user", "content": question}],
        temperature=0,
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    ):
        models.add(chunk.model)
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text == ask(acme, tuned, question)
    assert models == {tuned}
    assert usage is not None
    assert usage.completion_tokens > 0


def test_vllms_own_parameters_pass(acme: OpenAI, tuned: str) -> None:
    answer = acme.completions.create(
        model=tuned,
        prompt="ticket",
        max_tokens=4,
        temperature=0,
        logprobs=2,
        extra_body={"top_k": 5, "min_tokens": 4, "return_token_ids": True},
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].model_extra is not None
    assert len(answer.choices[0].model_extra["token_ids"]) == 4


def test_what_the_engine_refuses_is_the_clients_error(acme: OpenAI, tuned: str) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        acme.chat.completions.create(
            model=tuned, messages=[{"role": "user", "content": "hi"}], temperature=-4
        )
    assert "temperature" in str(refusal.value)


def test_a_job_continues_from_a_tuned_model(acme: OpenAI, tuned: str) -> None:
    job = acme.fine_tuning.jobs.create(
        model=tuned,
        training_file=upload(acme, csv_pairs(12, "room {word}")),
        hyperparameters={"n_epochs": 6},
        suffix="further",
    )
    done = succeeded(acme, job.id)
    assert done.fine_tuned_model is not None
    assert done.fine_tuned_model.startswith(f"ft:{BASE}:acme-trading:further:")
    answer = ask(acme, done.fine_tuned_model, "where does ticket 3 about the west box go?")
    assert answer.startswith("room")


def test_pause_resume_and_cancel(acme: OpenAI, platform: Platform) -> None:
    file = upload(acme, csv_pairs(30))
    long: Hyperparameters = {"n_epochs": 8, "batch_size": 1}
    plain = succeeded(
        acme,
        acme.fine_tuning.jobs.create(
            model=BASE, training_file=file, seed=8, hyperparameters=long
        ).id,
    )
    job = acme.fine_tuning.jobs.create(
        model=BASE, training_file=file, seed=8, hyperparameters=long, metadata={"paused": "once"}
    )
    wait_for_step(acme, job.id, 5)
    assert str(acme.fine_tuning.jobs.pause(job.id).status) == "paused"
    with pytest.raises(openai.BadRequestError, match="paused"):
        acme.fine_tuning.jobs.pause(job.id)
    acme.fine_tuning.jobs.resume(job.id)
    resumed = succeeded(acme, job.id)
    assert any("started from step" in message for message in messages(acme, job.id))
    assert plain.fine_tuned_model is not None
    assert resumed.fine_tuned_model is not None
    assert platform.digest(resumed.fine_tuned_model) == platform.digest(plain.fine_tuned_model)

    job = acme.fine_tuning.jobs.create(
        model=BASE, training_file=file, hyperparameters={"n_epochs": 50, "batch_size": 1}
    )
    wait_for_step(acme, job.id, 2)
    assert acme.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        acme.fine_tuning.jobs.cancel(job.id)
    assert acme.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None


def test_a_deleted_model_is_gone_from_engine_and_disk(acme: OpenAI, platform: Platform) -> None:
    job = succeeded(
        acme,
        acme.fine_tuning.jobs.create(
            model=BASE,
            training_file=upload(acme, csv_pairs(10, "shelf {word}")),
            hyperparameters={"n_epochs": 1},
        ).id,
    )
    name = job.fine_tuned_model
    assert name is not None
    digest = platform.digest(name)
    for checkpoint in acme.fine_tuning.jobs.checkpoints.list(job.id).data:
        acme.models.delete(checkpoint.fine_tuned_model_checkpoint)
    assert acme.models.delete(name).deleted
    with pytest.raises(openai.NotFoundError):
        ask(acme, name, "hi")
    assert not (platform.home / "storage" / "adapters" / digest).exists()
    loaded = httpx.get(f"{platform.engine_url()}/v1/models").json()["data"]
    assert digest not in {model["id"] for model in loaded}


def test_an_example_past_the_context_fails_the_job_with_its_line(acme: OpenAI) -> None:
    rows = csv_pairs(12) + b'"' + b"word " * 3000 + b'",yes\n'
    job = acme.fine_tuning.jobs.create(model=BASE, training_file=upload(acme, rows))
    failed = finished(acme, job.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "invalid_training_file"
    assert "line 14" in failed.error.message


def test_a_file_deleted_before_the_job_ran_fails_it(acme: OpenAI) -> None:
    file = upload(acme, csv_pairs(12, "corner {i}"))
    job = acme.fine_tuning.jobs.create(model=BASE, training_file=file)
    acme.fine_tuning.jobs.pause(job.id)
    until(lambda: _is_released(acme, job.id), 30)
    acme.files.delete(file)
    acme.fine_tuning.jobs.resume(job.id)
    failed = finished(acme, job.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "file_deleted"
    assert "deleted before the job ran" in failed.error.message


def _is_released(client: OpenAI, job_id: str) -> bool:
    return str(client.fine_tuning.jobs.retrieve(job_id).status) == "paused"


def test_readiness_and_metrics(platform: Platform) -> None:
    assert httpx.get(f"{platform.url}/readyz").status_code == 200
    metrics = httpx.get(f"{platform.url}/metrics").text
    assert 'status="succeeded"' in metrics


def test_the_command_line_sees_the_same(platform: Platform, acme: OpenAI, tuned: str) -> None:
    listed = platform.cli("models", "list", key=acme.api_key)
    assert tuned in json.dumps(listed)
