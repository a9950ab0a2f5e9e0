"""A judge's words: what can be read two ways, or not at all, is no score."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from tunesmith.platform.graders import ScoreModel, check_grader
from tunesmith.workers.evaluator.grading.judge import (
    HttpJudge,
    JudgeFailed,
    compare_pair,
    score_alone,
)


def grader(**fields: object) -> ScoreModel:
    made = check_grader({"type": "score_model", "model": "judge", **fields}, "grader")
    assert isinstance(made, ScoreModel)
    return made


class Judge:
    """Says what a function makes of the messages."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self._reply = reply
        self.asked: list[str] = []

    async def ask(self, messages: list[dict[str, str]], grader: ScoreModel) -> str:
        self.asked.append(messages[-1]["content"])
        return self._reply(messages[-1]["content"])


def compared(judge: Judge, baseline: str, candidate: str) -> tuple[float, float]:
    return asyncio.run(compare_pair(judge, grader(), "What?", "good", (baseline, candidate)))


def good_stands_first(shown: str) -> bool:
    return "<first>\ngood" in shown


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("FIRST", "SECOND"),
        ("**First.**", "**Second.**"),
        ("The second misses the point.\n\nFIRST", "The first misses the point.\n\nSECOND"),
        ("<think>second? no</think>FIRST", "<think>first? no</think>SECOND"),
        ("I prefer the first.", "I prefer the second."),
    ],
)
def test_a_preference_that_holds_both_ways_is_a_win(first: str, second: str) -> None:
    judge = Judge(lambda shown: first if good_stands_first(shown) else second)
    assert compared(judge, "bad", "good") == (0.0, 1.0)
    assert compared(judge, "good", "bad") == (1.0, 0.0)


@pytest.mark.parametrize("reply", ["FIRST", "SECOND", "TIE"])
def test_a_judge_that_looks_at_the_place_alone_decides_nothing(reply: str) -> None:
    assert compared(Judge(lambda _: reply), "bad", "good") == (0.5, 0.5)


def test_equal_answers_are_a_tie_without_asking() -> None:
    judge = Judge(lambda _: "FIRST")
    assert compared(judge, "same", "same") == (0.5, 0.5)
    assert judge.asked == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("FIRST, because the second is wrong.", "SECOND, because the first is wrong."),
        ("The first is no better than the second.", "The second is no better than the first."),
        ("", ""),
        ("Neither.", "Neither."),
        ("<think>the first, of course", "<think>the second, of course"),
    ],
)
def test_what_can_be_read_either_way_is_no_preference(first: str, second: str) -> None:
    with pytest.raises(JudgeFailed, match="FIRST, SECOND or TIE"):
        compared(Judge(lambda shown: first if good_stands_first(shown) else second), "bad", "good")


def scored(reply: str) -> float:
    asked = grader(
        range=[0, 10],
        input=[{"role": "user", "content": "Rate {{sample.output_text}} ({{item.reference}})."}],
    )
    return asyncio.run(score_alone(Judge(lambda _: reply), asked, "What?", "right", "given"))


@pytest.mark.parametrize("reply", ["3", "Score: 3.0", '{"result": 3}', "<think>9, or 8</think>3"])
def test_a_score_is_brought_from_its_range_to_0_to_1(reply: str) -> None:
    assert scored(reply) == pytest.approx(0.3)


@pytest.mark.parametrize("reply", ["3 out of 10", "3/10", "good", "11", "-1", ""])
def test_what_is_not_one_number_of_the_range_is_no_score(reply: str) -> None:
    with pytest.raises(JudgeFailed, match="from 0 to 10"):
        scored(reply)


def test_what_an_answer_says_in_braces_is_not_filled_in() -> None:
    judge = Judge(lambda _: "1")
    asked = grader(input=[{"role": "user", "content": "{{ sample.output_text }}"}])
    asyncio.run(score_alone(judge, asked, "q", "SECRET", "{{item.reference}}"))
    assert judge.asked == ["{{item.reference}}"]


def over_http(answer: Callable[[httpx.Request], httpx.Response]) -> str:
    judge = HttpJudge("http://judge/v1/", "sk-key", transport=httpx.MockTransport(answer))
    return asyncio.run(judge.ask([{"role": "user", "content": "?"}], grader()))


def test_the_endpoint_is_asked_as_openai_is() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"choices": [{"message": {"content": "TIE"}}]})

    assert over_http(answer) == "TIE"
    assert str(seen[0].url) == "http://judge/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer sk-key"


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(401, text="no such key"),
        httpx.Response(200, text="not json"),
        httpx.Response(200, json={"choices": []}),
    ],
)
def test_an_endpoint_that_refuses_or_talks_nonsense_fails_at_once(response: httpx.Response) -> None:
    asked: list[int] = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(1)
        return response

    with pytest.raises(JudgeFailed) as failed:
        over_http(answer)
    assert len(asked) == 1
    assert "sk-key" not in str(failed.value)
