"""Both models' answers scored: what decides, its floor, and what a failing judge leaves."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from tunesmith.platform.graders import ScoreModel
from tunesmith.workers.evaluator.answering import Item
from tunesmith.workers.evaluator.engine_client import EngineClient
from tunesmith.workers.evaluator.grading.judge import JudgeFailed
from tunesmith.workers.evaluator.scores import Scored, score_chats, score_preferences, spread

from .fake_engine import BASE, TUNED, FakeEngine, asking

LABELS = ("red", "green", "blue", "grey")
JUDGE = {"type": "score_model", "name": "taste", "model": "judge"}


def items(count: int = 40, rejected: str | None = None) -> list[Item]:
    return [
        Item(
            place + 1,
            [{"role": "user", "content": f"question {place}"}],
            None,
            {"role": "assistant", "content": LABELS[place % len(LABELS)]},
            None if rejected is None else {"role": "assistant", "content": rejected},
        )
        for place in range(count)
    ]


def number(messages: list[dict[str, Any]]) -> int:
    return int(messages[-1]["content"].rpartition(" ")[2])


def right(model: str, messages: list[dict[str, Any]]) -> str:
    """The tuned model knows; the base talks."""
    return LABELS[number(messages) % len(LABELS)] if model == TUNED else "I am sorry."


class Judge:
    """Prefers what the tuned model says; of questions from `fails_from` on it says nothing."""

    def __init__(self, fails_from: int) -> None:
        self._fails_from = fails_from

    async def ask(self, messages: list[dict[str, str]], grader: ScoreModel) -> str:
        shown = messages[-1]["content"]
        if int(shown.partition("question ")[2].split()[0]) >= self._fails_from:
            raise JudgeFailed("The judge is away.")
        first = shown.partition("<first>\n")[2].partition("\n</first>")[0]
        return "SECOND" if first.startswith("I am sorry") else "FIRST"


def scored(
    engine: FakeEngine, asked: list[Item], judge: Judge | None = None, grader: Any = None
) -> Scored:
    async def work(client: EngineClient) -> Scored:
        return await score_chats(
            client,
            (BASE, TUNED),
            asked,
            bar=0.2,
            grader=grader,
            judge=judge,
            on_answer=lambda: None,
        )

    return asyncio.run(asking(engine, work))


def test_labels_have_a_confusion_matrix_a_floor_and_a_verdict() -> None:
    found = scored(FakeEngine(right), items())
    result = found.result
    assert (result["verdict"], result["metric"]["kind"], found.lack) == ("better", "label", None)
    assert result["constant_answer"] == {"answer": "red", "value": 0.25, "beaten": True}
    assert result["confusion"]["labels"] == sorted(LABELS)
    assert [row[-1] for row in result["confusion"]["baseline"]] == [10] * 4
    assert [row[-1] for row in result["confusion"]["candidate"]] == [0] * 4
    assert result["result_counts"] == {"total": 40, "passed": 40, "failed": 0, "errored": 0}
    assert found.items[1]["baseline_answer"] == "I am sorry."
    assert [item["candidate_score"] for item in found.items] == [1.0] * 40


@pytest.mark.parametrize("grader", [None, {"type": "string_check", "operation": "eq"}])
def test_one_label_for_everything_is_not_better_than_a_base_that_has_none(grader: Any) -> None:
    def parrot(model: str, _: list[dict[str, Any]]) -> str:
        return "red" if model == TUNED else "I am sorry."

    result = scored(FakeEngine(parrot), items(80), grader=grader).result
    assert result["candidate"]["value"] == 0.25
    assert result["verdict"] == "no clear difference"
    assert not result["constant_answer"]["beaten"]


def test_a_question_that_the_engine_refuses_is_an_error_and_a_miss() -> None:
    asked = items(20)
    asked[3].messages[0]["content"] = "x" * 2000 + " 3"
    found = scored(FakeEngine(right), asked)
    assert found.result["result_counts"] == {"total": 20, "passed": 19, "failed": 0, "errored": 1}
    assert "refuses" in found.items[3]["candidate_answer"]
    assert found.items[3]["candidate_score"] == 0.0


def test_a_judge_that_fails_now_and_then_leaves_the_rest_and_says_so() -> None:
    found = scored(FakeEngine(right), items(), Judge(fails_from=30), JUDGE)
    assert found.result["verdict"] == "better"
    assert found.result["candidate"] == {"value": 1.0, "n": 30}
    assert found.lack is not None
    assert found.lack["code"] == "judge_failed"
    assert "10 of 40" in found.lack["message"]
    assert [item["candidate_score"] for item in found.items[30:]] == [None] * 10
    assert found.result["result_counts"]["errored"] == 10


@pytest.mark.parametrize("judge", [Judge(fails_from=5), None])
def test_a_judge_that_mostly_fails_gives_no_verdict(judge: Judge | None) -> None:
    found = scored(FakeEngine(right), items(), judge, JUDGE)
    assert (found.result["verdict"], found.result["bar"]["met"]) == (None, False)
    assert found.lack is not None


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 500])
def test_a_spread_is_even_and_in_order(count: int) -> None:
    lines = [item.line for item in spread(items(count), 100)]
    assert len(lines) == min(count, 100)
    assert lines == sorted(set(lines))
    gaps = {after - before for before, after in pairwise(lines)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_without_examples_there_are_too_few() -> None:
    found = scored(FakeEngine(right), [])
    assert found.result["verdict"] == "too few examples"
    assert (found.result["perplexity"], found.items, found.lack) == (None, [], None)


def test_a_preference_is_right_where_the_preferred_answer_is_likelier_by_token() -> None:
    def logprob(model: str, _: int, token: int) -> float:
        liked = token != ord("z")
        return -0.1 if liked == (model == TUNED) else -2.0

    async def work(client: EngineClient) -> Scored:
        asked = items(rejected="zzzzzz")
        return await score_preferences(
            client, (BASE, TUNED), asked, bar=0.2, on_answer=lambda: None
        )

    found = asyncio.run(asking(FakeEngine(logprob=logprob), work))
    assert (found.result["baseline"]["value"], found.result["candidate"]["value"]) == (0.0, 1.0)
    assert found.result["verdict"] == "better"
    assert found.result["perplexity"]["candidate"] < found.result["perplexity"]["baseline"]
