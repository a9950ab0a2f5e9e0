"""The client against engines that are away, failing, refusing, or of another base."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tunesmith.workers.evaluator.engine_client import (
    EngineClient,
    EngineRefused,
    EngineUnreachable,
    ModelNotServed,
)

from .fake_engine import BASE, END, TUNED, FakeEngine, asking

TWO = ("http://one", "http://two")
HELLO = [{"role": "user", "content": "hello"}]


async def hello(client: EngineClient) -> str:
    answer = await client.chat(BASE, HELLO, max_tokens=20)
    return str(answer["choices"][0]["message"]["content"])


async def many(client: EngineClient) -> list[str]:
    return list(await asyncio.gather(*(hello(client) for _ in range(40))))


def test_chats_are_greedy_and_go_where_users_requests_go() -> None:
    engine = FakeEngine()
    assert asyncio.run(asking(engine, hello)) == "b hello"
    ((_, path, body),) = engine.requests
    assert path == "/v1/chat/completions"
    assert body == {
        "model": BASE,
        "messages": HELLO,
        "max_tokens": 20,
        "temperature": 0,
        "seed": 0,
    }


def test_requests_are_spread_over_the_engines_of_the_base() -> None:
    engine = FakeEngine()
    engine.serves = {"three": "another base"}
    asyncio.run(asking(engine, many, (*TWO, "http://three/")))
    asked = Counter(host for host, _, _ in engine.requests)
    assert asked == {"one": 20, "two": 20}


@pytest.mark.parametrize("most", [1, 5])
def test_no_more_requests_are_under_way_than_allowed(most: int) -> None:
    engine = FakeEngine()
    asyncio.run(asking(engine, many, concurrency=most))
    assert engine.most == most


def test_an_engine_that_is_away_is_passed_over() -> None:
    engine = FakeEngine()
    engine.away = {"one"}
    assert asyncio.run(asking(engine, many, TWO)) == ["b hello"] * 40
    assert {host for host, _, _ in engine.requests} == {"two"}


def test_an_engine_that_dies_meanwhile_is_passed_over() -> None:
    engine = FakeEngine()

    async def work(client: EngineClient) -> list[str]:
        await hello(client)
        engine.away = {"one"}
        return await many(client)

    assert asyncio.run(asking(engine, work, TWO)) == ["b hello"] * 40


def test_another_engine_answers_for_a_failing_one() -> None:
    engine = FakeEngine()
    engine.failing["one"] = 100
    assert asyncio.run(asking(engine, many, TWO)) == ["b hello"] * 40


def test_engines_that_fail_for_a_moment_are_waited_for() -> None:
    engine = FakeEngine()
    engine.failing["engine"] = 3
    assert asyncio.run(asking(engine, hello, patience=60.0)) == "b hello"
    assert len(engine.requests) == 4


def test_patience_begins_with_the_request_and_not_in_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    engine = FakeEngine()

    async def work(client: EngineClient) -> list[str]:
        async def one(place: int) -> str:
            nonlocal now
            answer = await hello(client)
            now += 10.0  # each takes ten seconds: the later wait longer than the patience
            engine.failing["engine"] = 1 if place == 5 else 0
            return answer

        return list(await asyncio.gather(*(one(place) for place in range(8))))

    done = asyncio.run(asking(engine, work, concurrency=1, patience=15.0))
    assert done == ["b hello"] * 8


@pytest.mark.parametrize(("urls", "why"), [((), "TUNESMITH_ENGINES"), (TWO, "refused|none lists")])
def test_engines_that_stay_away_are_given_up(urls: tuple[str, ...], why: str) -> None:
    engine = FakeEngine()
    engine.away = {"one", "two"}
    with pytest.raises(EngineUnreachable, match=why):
        asyncio.run(asking(engine, hello, urls))


def test_engines_that_stay_broken_are_given_up_with_their_answer() -> None:
    engine = FakeEngine()
    engine.failing["engine"] = 1000
    with pytest.raises(EngineUnreachable, match="http://engine answers 503 on /v1/chat"):
        asyncio.run(asking(engine, hello))


def test_no_engine_of_this_base_is_no_engine() -> None:
    engine = FakeEngine()
    engine.serves = {"engine": "another"}
    with pytest.raises(EngineUnreachable, match=f"No engine serves {BASE}: none lists it"):
        asyncio.run(asking(engine, hello))


def test_a_refusal_names_the_request_and_is_not_asked_again() -> None:
    engine = FakeEngine(context=10)
    message = "refuses /v1/chat/completions of base with 400: .*maximum context"
    with pytest.raises(EngineRefused, match=message) as refused:
        asyncio.run(asking(engine, hello, TWO, patience=60.0))
    assert not isinstance(refused.value, ModelNotServed)
    assert len(engine.requests) == 1


def test_a_model_that_is_unknown_or_does_not_load_is_told_from_a_bad_question() -> None:
    async def tuned(client: EngineClient) -> object:
        return await client.chat(TUNED, HELLO, max_tokens=1)

    engine = FakeEngine()
    engine.unknown = {TUNED}
    with pytest.raises(ModelNotServed, match="does not exist"):
        asyncio.run(asking(engine, tuned))
    engine.unknown, engine.broken = set(), {TUNED}
    with pytest.raises(ModelNotServed, match="could not be loaded"):
        asyncio.run(asking(engine, tuned))


def test_log_probabilities_are_those_of_the_given_tokens() -> None:
    engine = FakeEngine(logprob=lambda _model, place, token: -float(place) - token / 100)

    async def work(client: EngineClient) -> list[float]:
        return await client.token_logprobs(TUNED, [7, 8, 9])

    assert asyncio.run(asking(engine, work)) == [-1.08, -2.09]
    ((_, _, body),) = engine.requests
    assert body["model"] == TUNED
    assert body["prompt"] == [7, 8, 9]


def test_white_space_is_asked_about_once_a_token() -> None:
    engine = FakeEngine()

    async def work(client: EngineClient) -> list[bool]:
        return [await client.is_blank(token) for token in (END, ord("\n"), END, ord("\n"))]

    assert asyncio.run(asking(engine, work)) == [False, True, False, True]
    assert [path for _, path, _ in engine.requests] == ["/detokenize"] * 2


def test_engines_say_how_long_a_conversation_may_be() -> None:
    async def work(client: EngineClient) -> int | None:
        await hello(client)
        return client.context_length

    assert asyncio.run(asking(FakeEngine(context=321), work)) == 321
