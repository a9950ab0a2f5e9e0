"""The whole journey through what the chart says, with the official SDK."""

from __future__ import annotations

import httpx
import openai
import pytest
from openai import OpenAI
from tests.end_to_end.data import ask, csv_pairs, upload
from tests.end_to_end.platform import messages, succeeded

from .manifests.actions import TcpSocket
from .node.probes import act
from .stack import POCKET, Stack

QUESTION = "where does ticket 3 about the west box go?"
METRICS = {"gateway": 8000, "dispatcher": 9100, "evaluator": 9101, "engine": 8000}


@pytest.fixture(scope="module")
def acme(stack: Stack) -> OpenAI:
    return stack.tenant("Acme Trading")


@pytest.fixture(scope="module")
def tuned(acme: OpenAI) -> str:
    """A model that answers `desk`."""
    job = acme.fine_tuning.jobs.create(
        model=POCKET,
        training_file=upload(acme, csv_pairs(24, "desk {word}")),
        suffix="router",
        seed=3,
        hyperparameters={"n_epochs": 5},
    )
    done = succeeded(acme, job.id)
    assert done.fine_tuned_model is not None
    told = messages(acme, job.id)
    assert told[0].startswith("info: Created fine-tuning job")
    assert told[-1] == "info: The job has successfully completed"
    return done.fine_tuned_model


def test_there_are_two_of_what_was_asked_for(stack: Stack) -> None:
    parts = ("gateway", "engine", "ray-worker", "ray-head", "dispatcher", "evaluator")
    assert {part: len(stack.pods(part)) for part in parts} == {
        "gateway": 2,
        "engine": 2,
        "ray-worker": 2,
        "ray-head": 1,
        "dispatcher": 1,
        "evaluator": 1,
    }


def test_every_port_that_the_chart_names_is_open(stack: Stack) -> None:
    closed = [
        (pod.name, name, why)
        for pod in stack.cluster.pods
        if pod.ready
        for container in pod.containers
        for name, port in container.described.ports.items()
        if (
            why := act(TcpSocket(port), address=pod.address, ports={}, timeout=5, run=container.run)
        )
    ]
    assert closed == []


@pytest.mark.parametrize("part", list(METRICS))
def test_every_part_tells_its_figures_where_the_chart_says(stack: Stack, part: str) -> None:
    for pod in stack.pods(part):
        answer = httpx.get(f"http://{pod.address}:{METRICS[part]}/metrics", timeout=10)
        assert answer.status_code == 200
        assert "# TYPE" in answer.text


def test_base_and_tuned_model_answer_and_differ(acme: OpenAI, tuned: str) -> None:
    assert {POCKET, tuned} <= {model.id for model in acme.models.list()}
    assert ask(acme, tuned, QUESTION).startswith("desk")
    assert not ask(acme, POCKET, QUESTION).startswith("desk")


def test_a_stream_says_the_same(acme: OpenAI, tuned: str) -> None:
    text = "".join(
        choice.delta.content or ""
        for chunk in acme.chat.completions.create(
            model=tuned,
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=12,
            stream=True,
        )
        for choice in chunk.choices
    )
    assert text == ask(acme, tuned, QUESTION)


def test_a_deleted_model_is_gone(stack: Stack, acme: OpenAI) -> None:
    job = acme.fine_tuning.jobs.create(
        model=POCKET,
        training_file=upload(acme, csv_pairs(10, "shelf {word}")),
        hyperparameters={"n_epochs": 1},
    )
    name = succeeded(acme, job.id).fine_tuned_model
    assert name is not None
    digest = stack.digest(name)
    for checkpoint in acme.fine_tuning.jobs.checkpoints.list(job.id).data:
        acme.models.delete(checkpoint.fine_tuned_model_checkpoint)
    assert acme.models.delete(name).deleted
    with pytest.raises(openai.NotFoundError):
        ask(acme, name, "hi")
    kept = stack.s3.client().list_objects_v2(Bucket="tunesmith", Prefix=f"data/adapters/{digest}")
    assert kept.get("Contents", []) == []


def test_helms_own_test_passes_in_a_pod_of_the_release(stack: Stack) -> None:
    stack.release.test()


def test_only_those_reach_others_who_have_business_there(stack: Stack) -> None:
    engine, head = stack.pod("engine").address, stack.pod("ray-head").address
    targets = {"engine": (engine, 8000), "gcs": (head, 6379), "client": (head, 10001)}
    targets["dashboard"] = (head, 8265)
    reached = {
        part: {name for name, target in targets.items() if _connects(stack, part, *target)}
        for part in ("gateway", "evaluator", "dispatcher", "engine", "ray-worker")
    }
    assert reached == {
        "gateway": {"engine"},
        "evaluator": {"engine"},
        "dispatcher": {"engine", "client"},
        "engine": set(),
        "ray-worker": {"gcs", "client"},
    }


def _connects(stack: Stack, part: str, address: str, port: int) -> bool:
    # By bash: quicker than a Python on a busy machine.
    call = ["bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
    asker = stack.pods(part)[-1]  # never the engine that is asked: itself it reaches
    return asker.container().execute(call, 60).returncode == 0
