"""How likely an answer is, from what an engine says of its tokens."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.workers.evaluator.answering import Item
from tunesmith.workers.evaluator.engine_client import EngineClient, ModelNotServed
from tunesmith.workers.evaluator.scoring import (
    Likelihood,
    continuation,
    likelihood,
    likelihoods,
    perplexity,
)

from . import fake_engine
from .fake_engine import BASE, END, TUNED, FakeEngine, asking

QUESTION = [{"role": "user", "content": "how?"}]
PROMPT = len("u: how?.\na: ")


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def likely(engine: FakeEngine, reply: dict[str, Any], model: str = BASE) -> Likelihood | None:
    async def work(client: EngineClient) -> Likelihood | None:
        return await likelihood(client, model, QUESTION, reply)

    return asyncio.run(asking(engine, work))


def test_the_answers_own_tokens_count_up_to_its_end_of_turn() -> None:
    def logprob(_model: str, place: int, token: int) -> float:
        assert 0 < token < 128
        return -100.0 if place < PROMPT else -1.0 if token == END else -0.25

    assert likely(FakeEngine(logprob=logprob), answer("well")) == Likelihood(-2.0, 5)


def test_the_model_that_is_asked_about_is_the_one_that_answers() -> None:
    engine = FakeEngine(logprob=lambda model, *_: -1.0 if model == TUNED else -3.0)
    assert likely(engine, answer("a"), TUNED) == Likelihood(-2.0, 2)
    assert likely(engine, answer("a"), BASE) == Likelihood(-6.0, 2)
    asked = [body["model"] for _, path, body in engine.requests if path == "/v1/completions"]
    assert asked == [TUNED, BASE]


def test_an_answer_that_the_template_rewrites_is_its_bare_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = fake_engine.rendered

    def rendered(messages: list[dict[str, Any]], *, prompt: bool) -> list[int]:
        ids = written(messages, prompt=prompt)
        return [*ids, ord("<"), ord("t"), ord(">")] if prompt else ids  # an opened thought

    monkeypatch.setattr(fake_engine, "rendered", rendered)
    engine = FakeEngine()
    assert likely(engine, answer("well")) == Likelihood(-2.0, 4)
    _, _, body = engine.requests[-1]
    assert "".join(map(chr, body["prompt"])).endswith("a: <t>well")


def test_an_answer_without_room_has_no_likelihood() -> None:
    assert likely(FakeEngine(context=30), answer("x" * 40)) is None


def test_an_empty_answer_is_its_end_of_turn() -> None:
    assert likely(FakeEngine(), answer("")) == Likelihood(-0.5, 1)


def test_a_model_that_is_not_served_has_no_likelihoods() -> None:
    engine = FakeEngine()
    engine.unknown = {TUNED}
    with pytest.raises(ModelNotServed):
        likely(engine, answer("a"), TUNED)


def test_nothing_continues_nothing() -> None:
    async def work(client: EngineClient) -> list[Likelihood | None]:
        return [
            await continuation(client, BASE, [], [1]),
            await continuation(client, BASE, [1], []),
        ]

    assert asyncio.run(asking(FakeEngine(), work)) == [None, None]


def test_preferences_are_right_and_rejected_answers_in_the_items_order() -> None:
    engine = FakeEngine(logprob=lambda _model, _place, token: -token / 100)
    items = [Item(n, QUESTION, None, answer("a" * n), answer("b" * n)) for n in range(1, 20)]
    done = []

    async def work(client: EngineClient) -> list[list[Likelihood | None]]:
        listed = [
            await likelihoods(
                client, [BASE, BASE], items, rejected=side, on_answer=lambda: done.append(1)
            )
            for side in (False, True)
        ]
        assert all(one == other for one, other in listed)  # the same model twice
        return [one for one, _ in listed]

    right, rejected = asyncio.run(asking(engine, work))
    for n, (good, bad) in enumerate(zip(right, rejected, strict=True), start=1):
        assert good is not None
        assert bad is not None
        assert good.tokens == bad.tokens == n + 1
        assert good.nats == pytest.approx(-0.97 * n - 0.03)
        assert good.per_token > bad.per_token
    assert len(done) == 76


@given(st.lists(st.lists(st.floats(-50, 0), min_size=1, max_size=20), min_size=1, max_size=20))
def test_perplexity_weighs_every_token_alike(tokens: list[list[float]]) -> None:
    found = [Likelihood(sum(one), len(one)) for one in tokens]
    each = [value for one in tokens for value in one]
    expected = math.exp(-sum(each) / len(each))
    assert perplexity([*found, None]) == pytest.approx(expected)


def test_perplexity_of_nothing_is_not_known() -> None:
    assert perplexity([]) is None
    assert perplexity([None]) is None


def test_a_hopeless_answer_is_a_finite_number() -> None:
    assert perplexity([Likelihood(-9999.0, 1)]) == pytest.approx(math.exp(700))
