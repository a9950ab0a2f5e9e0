"""Inference: requests passed on to an engine untouched, its answers passed back."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import WORDS, FakeEngine
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of

HI: Any = [{"role": "user", "content": "hi"}]
TEXT = "".join(WORDS)


class Tuned:
    """A gateway with an engine of its own, a tenant in it and the tenant's tuned model."""

    def __init__(self, gateway: Gateway, engine: FakeEngine) -> None:
        self.gateway = gateway
        self.engine = engine
        self.tenant: Tenant = gateway.tenant()
        self.client = self.tenant.client
        self.name, self.digest = gateway.train(self.tenant)
        engine.adapters.add(self.digest)

    def ask(self, **fields: Any) -> httpx.Response:
        body = {"model": self.name, "messages": HI} | fields
        return self.tenant.http.post("/v1/chat/completions", json=body)


@pytest.fixture
def tuned(make_gateway: MakeGateway, engine: FakeEngine) -> Tuned:
    return Tuned(make_gateway(), engine)


def test_base_and_tuned_model_answer_the_official_client(tuned: Tuned) -> None:
    base = tuned.client.chat.completions.create(model=BASE, messages=HI)
    assert base.choices[0].message.content == f"{TEXT} from base"
    assert base.model == BASE
    answer = tuned.client.chat.completions.create(model=tuned.name, messages=HI)
    assert answer.choices[0].message.content == f"{TEXT} from adapter"
    assert answer.model == tuned.name
    assert answer.usage is not None
    assert answer.usage.total_tokens == 11
    completion = tuned.client.completions.create(model=tuned.name, prompt="hi")
    assert completion.choices[0].text == f"{TEXT} from adapter"
    assert completion.model == tuned.name
    assert [request["model"] for request in tuned.engine.requests] == [
        BASE,
        tuned.digest,
        tuned.digest,
    ]


def test_every_field_is_passed_on_as_it_came(tuned: Tuned) -> None:
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": 'ü \u2028 \U0001f600 "q"'}],
        "temperature": 0.1,
        "top_k": 5,
        "structured_outputs": {"regex": "a+"},
        "seed": 2**60 + 1,
        "logit_bias": {"5": -1.5e-7},
        "nothing": None,
        "stop": ["\n"],
    }
    assert tuned.ask(**fields).status_code == 200
    sent = tuned.engine.requests[-1]
    assert sent == fields | {"model": tuned.digest, "cache_salt": tuned.tenant.id}
    escaped = b'{"model": "pocket", "messages": [{"role": "user", "content": "\\ud83d\\ude00"}]}'
    headers = {"content-type": "application/json"}
    tuned.tenant.http.post("/v1/chat/completions", content=escaped, headers=headers)
    assert tuned.engine.requests[-1]["messages"][0]["content"] == "\U0001f600"


@pytest.mark.parametrize("tuned_model", [True, False])
def test_a_stream_is_passed_on_line_by_line(tuned: Tuned, tuned_model: bool) -> None:
    model = tuned.name if tuned_model else BASE
    stream = tuned.client.chat.completions.create(model=model, messages=HI, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert {chunk.model for chunk in chunks} == {model}
    text = tuned.ask(model=model, stream=True)
    assert text.headers["content-type"].startswith("text/event-stream")
    assert tuned.digest not in text.text
    assert text.text.endswith("data: [DONE]\n\n")


def test_a_stream_reports_usage_when_asked(tuned: Tuned) -> None:
    def tokens(kind: str) -> float:
        return tuned.gateway.metric("tunesmith_tokens_total", base=BASE, kind=kind)

    options: Any = {"include_usage": True}
    *_, last = tuned.client.chat.completions.create(
        model=tuned.name, messages=HI, stream=True, stream_options=options
    )
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 4
    assert (tokens("prompt"), tokens("completion")) == (7, 4)
    tuned.ask()
    assert (tokens("prompt"), tokens("completion")) == (14, 8)


def test_chunks_come_as_they_are_made(tuned: Tuned) -> None:
    tuned.engine.hold.clear()
    with tuned.client.chat.completions.create(model=tuned.name, messages=HI, stream=True) as stream:
        first = next(iter(stream))  # while the engine holds the rest back
        assert first.choices[0].delta.content == WORDS[0]
        tuned.engine.hold.set()
        assert len(list(stream)) == len(WORDS) - 1


def test_a_client_that_leaves_a_stream_aborts_it_in_the_engine(tuned: Tuned) -> None:
    tuned.engine.hold.clear()
    stream = tuned.client.chat.completions.create(model=tuned.name, messages=HI, stream=True)
    next(iter(stream))
    stream.close()
    assert tuned.engine.aborted.wait(10)


def test_a_client_that_leaves_before_the_answer_aborts_it_in_the_engine(tuned: Tuned) -> None:
    tuned.engine.hold.clear()
    with pytest.raises(openai.APITimeoutError):
        tuned.client.with_options(timeout=0.5).chat.completions.create(model=BASE, messages=HI)
    assert tuned.engine.started.is_set()
    assert tuned.engine.aborted.wait(10)


def test_an_unknown_model_is_a_404(tuned: Tuned) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        tuned.client.chat.completions.create(model="gpt-4o", messages=HI)
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    assert tuned.engine.requests == []


def test_an_engines_refusal_is_passed_on_without_the_digest(tuned: Tuned) -> None:
    says = f"max_tokens is too large for {tuned.digest}"
    nested = {"error": {"message": says, "type": "BadRequest", "param": "body.max_tokens"}}
    flat = {"object": "error", "message": says, "type": "BadRequestError", "param": None}
    for body, param in ((nested, "max_tokens"), (flat, None)):
        tuned.engine.fail_with = (400, body)
        answer = tuned.ask()
        assert answer.status_code == 400
        error = error_of(answer)
        assert error["message"] == f"max_tokens is too large for {tuned.name}"
        assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_an_engines_failure_is_a_503(tuned: Tuned) -> None:
    tuned.engine.fail_with = (500, {"error": {"message": "secret trace", "type": "x"}})
    answer = tuned.ask()
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "secret" not in answer.text
    assert error_of(answer)["code"] == "engine_error"


def test_an_adapter_that_was_dropped_on_the_requests_way_is_pulled_again(tuned: Tuned) -> None:
    assert tuned.ask().status_code == 200
    tuned.engine.drops = 1
    assert tuned.ask().status_code == 200
    tuned.engine.drops = 2  # once is enough: this is another trouble
    answer = tuned.ask()
    assert (answer.status_code, error_of(answer)["code"]) == (503, "adapter_unavailable")
    assert tuned.ask().status_code == 200


@pytest.mark.parametrize("found", [False, True])
def test_an_adapter_that_the_engine_cannot_have_is_a_503(tuned: Tuned, found: bool) -> None:
    tuned.engine.adapters.clear()
    if found:
        tuned.engine.broken.add(tuned.digest)
    answer = tuned.ask()
    assert answer.status_code == 503
    error = error_of(answer)
    assert (error["code"], error["param"]) == ("adapter_unavailable", "model")
    assert tuned.name in error["message"]
    assert tuned.digest not in answer.text


def test_a_model_of_another_version_of_the_base_is_refused(tuned: Tuned) -> None:
    tuned.gateway.register_base(digest="d" * 64)
    answer = tuned.ask()
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "base_changed"
    assert tuned.engine.requests == []
    with pytest.raises(openai.BadRequestError, match="another version"):
        tuned.client.fine_tuning.jobs.create(model=tuned.name, training_file=tuned.tenant.upload())


BAD_BODIES: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", "invalid_json"),
    "no JSON": (b"{", "invalid_json"),
    "no object": (b"[]", "invalid_json"),
    "no UTF-8": (b'{"model": "\xff"}', "invalid_json"),
    "NaN": (b'{"model": "pocket", "temperature": NaN}', "invalid_json"),
    "infinite": (b'{"model": "pocket", "temperature": -Infinity}', "invalid_json"),
    "too large a number": (b'{"model": "pocket", "temperature": 1e999}', None),
    "too long a number": (b'{"model": "pocket", "n": ' + b"1" * 5000 + b"}", "invalid_json"),
    "a key twice": (b'{"model": "pocket", "model": "other"}', "duplicate_key"),
    "a key twice inside": (b'{"model": "pocket", "x": [{"a": 1, "a": 2}]}', "duplicate_key"),
    "deep": (b'{"model": "pocket", "x": ' + b"[" * 200 + b"]" * 200 + b"}", "nesting_too_deep"),
    "very deep": (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nesting_too_deep"),
    "no model": (b'{"messages": []}', "missing_required_parameter"),
    "null model": (b'{"model": null}', "missing_required_parameter"),
    "model as number": (b'{"model": 5}', "invalid_value"),
    "empty model": (b'{"model": ""}', "invalid_value"),
    "NUL in the model": (b'{"model": "a\\u0000b"}', "invalid_value"),
    "half a character": (b'{"model": "pocket", "stop": ["\\uDE00"]}', "invalid_text"),
    "half a character twice": (b'{"\\ud83d": 1, "\\ud83d": 1}', "duplicate_key"),
}


def test_a_bad_body_never_reaches_an_engine(
    gateway: Gateway, tenant: Tenant, shared_engine: FakeEngine
) -> None:
    before = len(shared_engine.requests)
    headers = {"content-type": "application/json"}
    for name, (body, code) in BAD_BODIES.items():
        for path in ("/v1/chat/completions", "/v1/completions"):
            answer = tenant.http.post(path, content=body, headers=headers)
            assert answer.status_code == 400, (name, answer.text)
            assert error_of(answer)["code"] == code, name
    assert len(shared_engine.requests) == before


def test_many_brackets_that_are_not_deep_are_fine(tuned: Tuned) -> None:
    parts = [{"type": "text", "text": "[{"} for _ in range(300)]
    assert tuned.ask(messages=[{"role": "user", "content": parts}]).status_code == 200


def test_too_large_a_body_is_a_413(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    body = json.dumps({"model": BASE, "prompt": "x" * 17 * 1024 * 1024}).encode()
    headers = {"content-type": "application/json"}
    for content in (body, iter([body[:9_000_000], body[9_000_000:]])):  # with a length, without
        answer = tenant.http.post("/v1/completions", content=content, headers=headers)
        assert answer.status_code == 413
        assert error_of(answer)["code"] == "request_too_large"
