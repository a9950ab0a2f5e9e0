"""Examples as questions, and the answers to them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.examples import Example
from tunesmith.workers.evaluator.answering import Answer, Item, answer_all, answer_room, items_of
from tunesmith.workers.evaluator.engine_client import (
    EngineClient,
    EngineRefused,
    EngineUnreachable,
    ModelNotServed,
)

from .fake_engine import TUNED, FakeEngine, asking


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def item(question: str, answer: str = "yes") -> Item:
    return Item(1, [user(question)], None, assistant(answer), None)


def chats(count: int) -> list[Example]:
    return [Example(line, [user(f"{line}?"), assistant(f"{line}!")]) for line in range(count)]


def test_the_last_learned_answer_is_the_reference_and_what_precedes_it_the_question() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        user("a?"),
        assistant("a!", weight=0),
        user("b?"),
        assistant("b!", weight=1),
        user("c?"),
        assistant("c!", weight=0),
    ]
    (found,) = items_of([Example(7, messages)], limit=10)
    assert found.line == 7
    assert found.messages == [*messages[:2], assistant("a!"), user("b?")]
    assert found.reference == assistant("b!")
    assert (found.question, found.expected, found.rejected) == ("b?", "b!", None)


def test_a_preference_has_both_answers() -> None:
    example = Example(1, [user("a?")], preferred=[assistant("good")], rejected=[assistant("bad")])
    (found,) = items_of([example], limit=10)
    assert found.messages == [user("a?")]
    assert (found.reference, found.rejected) == (assistant("good"), assistant("bad"))


def test_tool_calls_are_a_reference_too() -> None:
    call = {"type": "function", "id": "1", "function": {"name": "f", "arguments": '{"b":1}'}}
    example = Example(1, [user("call"), assistant("", tool_calls=[call])])
    (found,) = items_of([example], limit=10)
    assert "f" in found.expected
    assert "b" in found.expected


@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 3))
def test_a_sample_is_fixed_in_order_and_as_large_as_allowed(
    count: int, limit: int, seed: int
) -> None:
    first, second = (items_of(chats(count), limit=limit, seed=seed) for _ in range(2))
    assert first == second
    lines = [one.line for one in first]
    assert lines == sorted(set(lines))
    assert len(lines) == min(count, limit)


def test_another_seed_is_another_sample() -> None:
    samples = [[one.line for one in items_of(chats(200), limit=20, seed=s)] for s in (0, 1)]
    assert samples[0] != samples[1]


def room_for(answers: list[str], context: int = 1000) -> int:
    async def work(client: EngineClient) -> int:
        return await answer_room(client, [item("?", answer) for answer in answers])

    return asyncio.run(asking(FakeEngine(context=context), work))


def test_answers_have_half_as_much_room_again_as_the_longest_right_one() -> None:
    assert room_for(["a", "b" * 40, "c"]) == 60 + 16
    assert room_for([""]) == 16


def test_the_room_is_never_more_than_the_context() -> None:
    assert room_for(["b" * 90], context=100) == 100


def answers_of(engine: FakeEngine, questions: list[str], **options: Any) -> list[Answer]:
    async def work(client: EngineClient) -> list[Answer]:
        items = [item(question) for question in questions]
        return await answer_all(client, TUNED, items, max_tokens=20, **options)

    return asyncio.run(asking(engine, work))


def test_answers_come_in_the_order_of_the_questions() -> None:
    done = []
    questions = [str(number) for number in range(50)]
    answers = answers_of(FakeEngine(), questions, on_answer=lambda: done.append(1))
    assert [answer.text for answer in answers] == [f"a {question}" for question in questions]
    assert len(done) == 50


def test_an_answer_says_how_it_ended_and_what_it_cost() -> None:
    brief, cut = answers_of(FakeEngine(), ["hi", "x" * 40])
    assert (brief.text, brief.finish_reason, brief.completion_tokens) == ("a hi", "stop", 5)
    assert brief.prompt_tokens == len("u: hi.\na: ")
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 20)


def test_a_question_that_is_too_long_costs_only_its_own_answer() -> None:
    done = []
    answers = answers_of(FakeEngine(context=50), ["x" * 60, "hi"], on_answer=lambda: done.append(1))
    assert answers[0].text == ""
    assert "maximum context" in str(answers[0].refused)
    assert (answers[1].text, answers[1].refused) == ("a hi", None)
    assert len(done) == 2


def test_questions_that_are_all_refused_are_no_wrong_answers() -> None:
    with pytest.raises(EngineRefused, match=r"None of 2 questions is answered\..*maximum context"):
        answers_of(FakeEngine(context=50), ["x" * 60, "y" * 60])


def test_a_model_that_does_not_load_has_no_answers_rather_than_wrong_ones() -> None:
    engine = FakeEngine()
    engine.broken = {TUNED}
    with pytest.raises(ModelNotServed):
        answers_of(engine, ["hi"])


def test_engines_that_are_away_are_no_wrong_answers() -> None:
    engine = FakeEngine()
    engine.away = {"engine"}
    with pytest.raises(EngineUnreachable):
        answers_of(engine, ["hi"])


def test_no_questions_have_no_answers() -> None:
    assert answers_of(FakeEngine(), []) == []


def test_tool_calls_are_an_answer() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    class Client:
        async def chat(self, *_: Any, **__: Any) -> dict[str, Any]:
            message = {"role": "assistant", "content": None, "tool_calls": calls}
            return {"choices": [{"message": message, "finish_reason": "tool_calls"}]}

    work = answer_all(Client(), TUNED, [item("hi")], max_tokens=9)  # type: ignore[arg-type]
    (answer,) = asyncio.run(work)
    assert answer.tool_calls == calls
    assert "f" in answer.text
