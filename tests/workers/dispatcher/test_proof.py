"""The proof against engines that misbehave in the ways that engines did."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from tunesmith.workers.dispatcher.proof import EngineUnreachable, Proof, ProofFailed, prove
from tunesmith.workers.training.work import Probe

DIGEST = "a" * 64
PROBES = [Probe([{"role": "user", "content": "hi"}], None, [1, 2, 3])]
BASE = {"a": -0.5, "b": -1.5}


def proved_by(answer: Callable[[str, dict[str, object]], httpx.Response]) -> Proof:
    def handle(request: httpx.Request) -> httpx.Response:
        return answer(request.url.path, json.loads(request.content))

    return prove("http://engine", "base", DIGEST, PROBES, transport=httpx.MockTransport(handle))


def engine(
    tokens: list[int] | None = None, tuned: dict[str, float] | None = None
) -> Callable[[str, dict[str, object]], httpx.Response]:
    def answer(path: str, body: dict[str, object]) -> httpx.Response:
        if path == "/tokenize":
            return httpx.Response(200, json={"tokens": tokens or [1, 2, 3]})
        likeliest = BASE if body["model"] == "base" else (tuned or BASE)
        choice = {"logprobs": {"top_logprobs": [likeliest]}}
        return httpx.Response(200, json={"choices": [choice]})

    return answer


def test_an_engine_that_serves_what_was_trained_passes() -> None:
    proof = proved_by(engine(tuned={"a": -0.75, "b": -1.0}))
    assert proof == Proof(prompts=1, tokens=3, largest_shift=0.5)


def test_tokens_that_one_side_does_not_list_count_as_shifted() -> None:
    proof = proved_by(engine(tuned={"a": -0.5, "c": -2.0}))
    assert proof.largest_shift == pytest.approx(0.5)


def test_an_ignored_adapter_fails() -> None:
    with pytest.raises(ProofFailed, match="not applied") as failure:
        proved_by(engine(tuned=BASE))
    assert failure.value.code == "adapter_without_effect"


@pytest.mark.parametrize(("tokens", "place"), [([1, 9, 3], 2), ([1, 2, 3, 4], 4), ([1, 2], 3)])
def test_another_rendering_fails_and_says_where(tokens: list[int], place: int) -> None:
    with pytest.raises(ProofFailed, match=f"number {place} is the first") as failure:
        proved_by(engine(tokens=tokens))
    assert failure.value.code == "rendering_differs"


def test_an_engine_that_does_not_know_the_adapter_fails() -> None:
    def answer(path: str, body: dict[str, object]) -> httpx.Response:
        if body["model"] == DIGEST:
            return httpx.Response(404, json={"error": {"message": "does not exist"}})
        return engine()(path, body)

    with pytest.raises(ProofFailed, match="does not exist") as failure:
        proved_by(answer)
    assert failure.value.code == "adapter_not_served"


def test_a_failing_engine_may_come_back() -> None:
    with pytest.raises(EngineUnreachable, match="503"):
        proved_by(lambda _path, _body: httpx.Response(503))


def test_a_silent_engine_may_come_back() -> None:
    def refuse(path: str, body: dict[str, object]) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(EngineUnreachable, match="refused"):
        proved_by(refuse)
