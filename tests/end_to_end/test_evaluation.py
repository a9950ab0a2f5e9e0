"""Did it get better? Good and spoiled data, on real parts: report, verdict, gate, alias."""

from __future__ import annotations

from typing import Any, cast

import pytest
from openai import BadRequestError, OpenAI

from .data import ask, upload
from .platform import JOB_SECONDS, Platform, finished, messages, succeeded, until

BASE = "tunesmith-pocket"
SHELVES = {
    "apples": "fruit", "pears": "fruit", "plums": "fruit", "hammers": "tools", "saws": "tools",
    "nails": "tools", "novels": "books", "atlases": "books", "poems": "books",
}  # fmt: skip
LABELS = sorted(set(SHELVES.values()))
SEED = 11


def rows(count: int, start: int, *, spoiled: bool = False) -> bytes:
    """Questions about things, each with its shelf; spoiled: each twice, with both wrong ones.

    Labels drawn at random would do as well on a few things, some of which they hit by luck.
    """
    lines = ["prompt,completion"]
    for number in range(start, start + count):
        order = number // 2 if spoiled else number
        thing = list(SHELVES)[order % len(SHELVES)]
        wrong = [label for label in LABELS if label != SHELVES[thing]]
        label = wrong[number % 2] if spoiled else SHELVES[thing]
        lines.append(f"where do {thing} of order {order} go?,{label}")
    return ("\n".join(lines) + "\n").encode()


def get(client: OpenAI, path: str) -> dict[str, Any]:
    return cast("dict[str, Any]", client.get(path, cast_to=object))


def post(client: OpenAI, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", client.post(path, body=body, cast_to=object))


def tune(client: OpenAI, content: bytes, test: str, **more: Any) -> Any:
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(client, content),
        seed=SEED,
        hyperparameters=cast("Any", {"n_epochs": 8, "batch_size": 8, "validation_split": 0}),
        extra_body={"evaluation": {"file": test}} | more,
    )


def evaluation_of(client: OpenAI, job_id: str) -> dict[str, Any]:
    path = f"/fine_tuning/jobs/{job_id}/evaluation"
    until(
        lambda: get(client, path)["status"] not in ("queued", "in_progress"),
        JOB_SECONDS,
    )
    return get(client, path)


@pytest.fixture(scope="module")
def shop(platform: Platform) -> OpenAI:
    return platform.tenant("Shelf Shop")


@pytest.fixture(scope="module")
def test_file(shop: OpenAI) -> str:
    return upload(shop, rows(60, 10_000))


@pytest.fixture(scope="module")
def good(shop: OpenAI, test_file: str) -> tuple[str, dict[str, Any]]:
    """A model tuned on good data, and its evaluation."""
    job = succeeded(shop, tune(shop, rows(180, 0), test_file).id)
    return str(job.fine_tuned_model), evaluation_of(shop, job.id)


def test_good_data_makes_a_better_model_and_the_verdict_says_so(
    platform: Platform, shop: OpenAI, good: tuple[str, dict[str, Any]]
) -> None:
    model, evaluation = good
    result = evaluation["result"]
    assert (evaluation["status"], result["verdict"]) == ("completed", "better"), evaluation
    assert result["metric"]["kind"] == "label"
    assert result["candidate"]["value"] > result["constant_answer"]["value"]
    assert result["bar"]["met"]
    assert result["difference"]["low"] > 0
    assert result["perplexity"]["candidate"] < result["perplexity"]["baseline"]
    assert result["forgetting"]["probes"] >= 90
    items = get(shop, f"/evaluations/{evaluation['id']}/output_items?limit=100")["data"]
    assert len(items) == result["examples"]
    asked = next(item for item in items if item["candidate_score"] == 1.0)
    assert ask(shop, model, asked["input"]).strip() == asked["candidate_answer"]
    assert any(evaluation["id"] in text for text in messages(shop, evaluation["job"]))
    shown = platform.cli("jobs", "compare", evaluation["job"], "--json", key=shop.api_key)
    assert shown["result"]["verdict"] == "better"


def test_contradicting_labels_are_caught_and_forced_through_are_not_better_and_held_back(
    shop: OpenAI, good: tuple[str, dict[str, Any]], test_file: str
) -> None:
    spoiled = rows(180, 0, spoiled=True)
    refused = finished(shop, tune(shop, spoiled, test_file).id)
    assert refused.status == "failed"
    assert refused.error is not None
    assert refused.error.code == "data_report_blocks"
    report = f"/files/{refused.training_file}/report"
    until(lambda: get(shop, report)["status"] == "completed", JOB_SECONDS)
    found = {f["check"]: f for f in get(shop, report)["report"]["findings"]}
    assert found["contradictions"]["severity"] == "blocks"

    forced = succeeded(shop, tune(shop, spoiled, test_file, ignore_data_report=True).id)
    worse = str(forced.fine_tuned_model)
    result = evaluation_of(shop, forced.id)["result"]
    assert result["verdict"] in ("no clear difference", "worse"), result

    model, _ = good
    # A model of three words that is asked for its shelves alone may forget all else.
    post(shop, "/policy", {"maximum_forgetting": 1.0})
    post(shop, "/aliases", {"name": "shelves", "model": model})
    with pytest.raises(BadRequestError, match="force") as held:
        post(shop, "/aliases/shelves/promote", {"model": worse})
    assert held.value.code == "promotion_gate"
    first = shop.chat.completions.with_raw_response.create(
        model="shelves",
        messages=[{"role": "user", "content": "where do saws of order 10003 go?"}],
        max_tokens=8,
    )
    assert first.headers["x-tunesmith-model"] == model
    assert first.parse().model == "shelves"
    post(shop, "/aliases/shelves/promote", {"model": worse, "force": True, "reason": "a drill"})
    after = shop.chat.completions.with_raw_response.create(
        model="shelves", messages=[{"role": "user", "content": "hello"}], max_tokens=4
    )
    assert after.headers["x-tunesmith-model"] == worse
    post(shop, "/aliases/shelves/rollback", {})
    again = shop.chat.completions.with_raw_response.create(
        model="shelves", messages=[{"role": "user", "content": "hello"}], max_tokens=4
    )
    assert again.headers["x-tunesmith-model"] == model
    history = get(shop, "/aliases/shelves/history")["data"]
    assert [row["action"] for row in history] == ["rollback", "promote", "create"]
    assert (history[1]["forced"], history[1]["reason"]) == (True, "a drill")


def test_an_evaluator_that_is_killed_costs_nothing_but_time(
    platform: Platform, shop: OpenAI, good: tuple[str, dict[str, Any]], test_file: str
) -> None:
    model, before = good
    asked = post(shop, "/evaluations", {"model": model, "file": test_file, "probes": False})
    path = f"/evaluations/{asked['id']}"
    until(lambda: get(shop, path)["status"] == "in_progress", 60.0)
    platform.kill_part("evaluator")
    until(lambda: get(shop, path)["status"] == "completed", JOB_SECONDS)
    again = get(shop, path)["result"]
    assert again["candidate"] == before["result"]["candidate"]
    assert again["difference"] == before["result"]["difference"]
