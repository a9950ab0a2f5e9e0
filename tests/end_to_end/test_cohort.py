"""Jobs of many tenants on one resident base, by every method, through the official SDK."""

from __future__ import annotations

import json
import re
import urllib.request

import openai
import pytest
from openai import OpenAI

from .data import WORDS, ask, csv_pairs, upload
from .platform import Platform, finished, messages, succeeded

BASE = "tunesmith-pocket"


@pytest.fixture(scope="module")
def client(platform: Platform) -> OpenAI:
    return platform.tenant("Methodical")


def preferences(count: int) -> bytes:
    """For every question, a polite answer is preferred to a curt one."""
    lines = [
        json.dumps(
            {
                "input": {
                    "messages": [
                        {
                            "role": "user",
                            "content": f"where is ticket {i} about the {WORDS[i % 10]} box?",
                        }
                    ]
                },
                "preferred_output": [
                    {"role": "assistant", "content": f"Thank you, it is at desk {i}."}
                ],
                "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
            }
        )
        for i in range(count)
    ]
    return ("\n".join(lines) + "\n").encode()


def test_preferences_are_learned_from_where_a_tuned_model_stands(client: OpenAI) -> None:
    first = succeeded(
        client,
        client.fine_tuning.jobs.create(
            model=BASE,
            training_file=upload(client, csv_pairs(24)),
            hyperparameters={"n_epochs": 2},
        ).id,
    )
    job = client.fine_tuning.jobs.create(
        model=str(first.fine_tuned_model),
        training_file=upload(client, preferences(20), "preferences.jsonl"),
        method={
            "type": "dpo",
            "dpo": {
                "hyperparameters": {
                    "beta": 0.2, "n_epochs": 5, "batch_size": 4, "learning_rate_multiplier": 10,
                }
            },
        },
    )  # fmt: skip
    done = succeeded(client, job.id)
    assert done.method is not None
    assert done.method.dpo is not None
    assert done.method.dpo.hyperparameters is not None
    assert done.method.dpo.hyperparameters.beta == 0.2
    steps = [
        dict(event.data)  # type: ignore[call-overload]
        for event in client.fine_tuning.jobs.list_events(job.id, limit=100)
        if event.type == "metrics"
    ]
    steps.sort(key=lambda data: int(data["step"]))
    assert len(steps) == 25
    assert steps[0]["train_loss"] == pytest.approx(0.6931, abs=1e-3)  # the reference itself
    assert steps[0]["reward_margin"] == pytest.approx(0, abs=1e-3)
    assert steps[-1]["reward_accuracy"] == 1.0
    assert steps[-1]["reward_margin"] > 0.1
    assert steps[-1]["padding_share"] == 0
    assert ask(client, str(done.fine_tuned_model), "where is ticket 3 about the west box?")


def test_a_split_is_held_out_and_training_stops_when_it_no_longer_helps(client: OpenAI) -> None:
    """The answers follow no rule, so what is held out gets worse while training gets better."""
    answers = [f"desk {(i * 7919) % 97}" for i in range(60)]
    content = "prompt,completion\n" + "".join(
        f"where does ticket {i} go?,{answer}\n" for i, answer in enumerate(answers)
    )
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(client, content.encode()),
        hyperparameters={  # type: ignore[arg-type]
            "n_epochs": 40, "batch_size": 4, "early_stopping_patience": 2,
            "validation_split": 0.2,
        },
    )  # fmt: skip
    done = succeeded(client, job.id)
    told = "\n".join(messages(client, job.id))
    assert "12 of the 60 training examples are held out" in told
    stop = re.search(r"Stopped early at step (\d+) of 480", told)
    assert stop, told
    assert "The result is the adapter of step" in told
    shown = done.hyperparameters.model_dump()
    assert shown["validation_split"] == 0.2
    assert shown["lora_rank"] == 32
    assert shown["early_stopping_patience"] == 2


def test_what_could_not_be_served_or_trained_is_refused_at_creation(client: OpenAI) -> None:
    chats, pairs = (
        upload(client, csv_pairs(12)),
        upload(client, preferences(12), "preferences.jsonl"),
    )

    def refused(training_file: str, method: str, **hyperparameters: object) -> str:
        with pytest.raises(openai.BadRequestError) as refusal:
            client.fine_tuning.jobs.create(
                model=BASE,
                training_file=training_file,
                method={"type": method, method: {"hyperparameters": hyperparameters}},  # type: ignore[arg-type]
            )
        return f"{refusal.value.code}: {refusal.value.message}"

    assert "rank_too_high" in refused(chats, "supervised", lora_rank=512)
    assert "q_proj" in refused(chats, "supervised", target_modules=["lm_head"])
    assert "invalid_file_kind" in refused(chats, "dpo")
    assert "invalid_file_kind" in refused(pairs, "supervised")
    assert "unsupported_method" in refused(chats, "reinforcement")


def test_sixteen_tenants_train_together(platform: Platform) -> None:
    """All are in the cohort at the same time, and each gets its own model."""
    clients = [platform.tenant(f"Tenant {number}") for number in range(16)]
    jobs = [
        each.fine_tuning.jobs.create(
            model=BASE,
            training_file=upload(each, csv_pairs(20, f"room {number}")),
            hyperparameters={"n_epochs": 8, "batch_size": 4},
        ).id
        for number, each in enumerate(clients)
    ]
    done = [finished(each, job) for each, job in zip(clients, jobs, strict=True)]
    assert [job.status for job in done] == ["succeeded"] * 16
    starts, ends = [], []
    for each, job in zip(clients, jobs, strict=True):
        events = list(each.fine_tuning.jobs.list_events(job, limit=100))
        metrics = [event.created_at for event in events if event.type == "metrics"]
        starts.append(min(metrics))
        ends.append(max(metrics))
    assert max(starts) <= min(ends) + 1  # whole seconds
    question = "where does ticket 4 about the red box go?"
    for number in (0, 7, 15):
        assert f"room {number}" in ask(
            clients[number], str(done[number].fine_tuned_model), question
        )


def test_the_dispatchers_figures_can_be_scraped(platform: Platform, client: OpenAI) -> None:
    succeeded(
        client,
        client.fine_tuning.jobs.create(
            model=BASE,
            training_file=upload(client, csv_pairs(12)),
            hyperparameters={"n_epochs": 1},
        ).id,
    )
    told = json.loads((platform.home / "run" / "platform.json").read_text())
    with urllib.request.urlopen(told["dispatcher_metrics"], timeout=10) as answer:
        text = answer.read().decode()
    for name in ("tunesmith_training_steps_total", "tunesmith_training_tokens_total"):
        assert re.search(rf'^{name}{{base="{BASE}"}} [1-9]', text, re.MULTILINE), text
    assert "org-" not in text
    assert "ftjob-" not in text
