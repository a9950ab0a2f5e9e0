"""The official Python client over what its API has beyond files, jobs and plain chats."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from standardwebhooks import Webhook
from tests.gateway.conformance.belongings import batch_input
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import BASE, Gateway, Tenant, examples, wait_for

HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}


class Answer(BaseModel):
    """What a chat is to answer with."""

    text: str
    sure: bool


def test_embeddings(tenant: Tenant) -> None:
    found = tenant.client.embeddings.create(model=BASE, input=["a", "b"], encoding_format="float")
    assert [item.index for item in found.data] == [0, 1]
    assert found.data[1].embedding == [0.5, 1.0]
    assert (found.model, found.usage.total_tokens) == (BASE, 7)


def test_responses_whole_and_streamed(tenant: Tenant, shared_engine: FakeEngine) -> None:
    responses = tenant.client.responses
    whole = responses.create(model=BASE, input="hi", instructions="be kind")
    assert (whole.output_text, whole.status, whole.model) == ("Hello world", "completed", BASE)
    assert whole.usage is not None
    assert whole.usage.total_tokens == 11
    assert shared_engine.requests[-1]["instructions"] == "be kind"
    events = list(responses.create(model=BASE, input="hi", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(said) == "Hello world"
    with responses.stream(model=BASE, input="hi") as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == "Hello world"
    with pytest.raises(openai.BadRequestError) as refused:
        responses.create(model=BASE, input="more", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_chat_is_streamed_with_usage_where_it_is_asked_for(
    tenant: Tenant, asked: bool | None
) -> None:
    more: Any = {} if asked is None else {"stream_options": {"include_usage": asked}}
    chunks = list(
        tenant.client.chat.completions.create(model=BASE, messages=HI, stream=True, **more)
    )
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == "Hello world"
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.total_tokens for usage in usages] == ([11] if asked else [])
    assert bool(chunks[-1].choices) != bool(asked)


def test_tools_are_passed_on_and_called(tenant: Tenant, shared_engine: FakeEngine) -> None:
    answer = tenant.client.chat.completions.create(
        model=BASE, messages=HI, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.tool_calls is not None
    (call,) = answer.choices[0].message.tool_calls
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"place": "text", "days": 7}
    sent = shared_engine.requests[-1]
    assert (sent["tools"], sent["parallel_tool_calls"]) == ([TOOL], False)


def test_an_answer_has_the_form_that_was_asked_for(
    tenant: Tenant, shared_engine: FakeEngine
) -> None:
    answer = tenant.client.chat.completions.parse(
        model=BASE, messages=HI, response_format=Answer, extra_body={"guided_json": None}
    )
    assert answer.choices[0].message.parsed == Answer(text="text", sure=True)
    form = shared_engine.requests[-1]["response_format"]
    assert (form["type"], form["json_schema"]["name"]) == ("json_schema", "Answer")
    assert "guided_json" in shared_engine.requests[-1]


def test_headers_say_what_is_left_of_limits(make_gateway: MakeGateway) -> None:
    tenant = make_gateway(requests_per_minute=100, tokens_per_minute=10_000).tenant()
    answer = tenant.client.chat.completions.with_raw_response.create(model=BASE, messages=HI)
    assert answer.parse().choices[0].message.content
    assert answer.headers["x-ratelimit-limit-requests"] == "100"
    assert answer.headers["x-ratelimit-remaining-requests"] == "99"
    assert answer.headers["x-ratelimit-limit-tokens"] == "10000"
    assert 0 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 10_000
    for what in ("requests", "tokens"):
        assert answer.headers[f"x-ratelimit-reset-{what}"].endswith("s")
    assert answer.headers["openai-organization"] == tenant.id
    assert answer.request_id == answer.headers["x-request-id"]


def test_batches(tenant: Tenant) -> None:
    batches = tenant.client.batches
    file = tenant.client.files.create(file=("in.jsonl", batch_input()), purpose="batch")
    made = batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    wait_for(lambda: batches.retrieve(made.id).status == "completed")
    assert [batch.id for batch in batches.list(limit=1)] == [made.id]
    done = batches.retrieve(made.id)
    assert done.output_file_id is not None
    line = json.loads(tenant.client.files.content(done.output_file_id).text)
    assert line["response"]["body"]["choices"][0]["message"]["content"]
    with pytest.raises(openai.BadRequestError):
        batches.cancel(made.id)


def test_uploads_in_parts(tenant: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "tickets.jsonl"
    path.write_bytes(examples(30))
    upload = tenant.client.uploads.upload_file_chunked(
        file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=1024
    )
    assert upload.file is not None
    assert tenant.client.files.retrieve(upload.file.id).bytes == path.stat().st_size
    begun = tenant.client.uploads.create(
        filename="x", purpose="user_data", bytes=3, mime_type="text/plain"
    )
    assert tenant.client.uploads.cancel(begun.id).status == "cancelled"


def test_checkpoints_and_who_may_use_them(gateway: Gateway, tenant: Tenant) -> None:
    gateway.train(tenant, checkpoints=[3])
    (job,) = tenant.client.fine_tuning.jobs.list()
    (checkpoint,) = tenant.client.fine_tuning.jobs.checkpoints.list(job.id)
    name = checkpoint.fine_tuned_model_checkpoint
    other = gateway.tenant()
    permissions = tenant.client.fine_tuning.checkpoints.permissions
    made = permissions.create(name, project_ids=[other.id])
    assert [item.project_id for item in made] == [other.id]
    assert other.client.models.retrieve(name).id == name
    listed = permissions.list(name)
    assert [item.id for item in listed] == [made.data[0].id]
    assert permissions.delete(made.data[0].id, fine_tuned_model_checkpoint=name).deleted
    with pytest.raises(openai.NotFoundError):
        other.client.models.retrieve(name)


def test_a_webhook_is_unwrapped(make_gateway: MakeGateway, engine: FakeEngine) -> None:
    gateway = make_gateway(webhook_private_addresses=True)
    tenant = gateway.tenant()
    endpoint = tenant.client.webhooks.create(
        name="mine", url=f"{engine.url}/hook", event_types=["batch.completed"]
    )
    assert tenant.client.webhooks.retrieve(endpoint.id).url == f"{engine.url}/hook"
    body = '{"id": "evt_1", "object": "event", "type": "batch.completed", "created_at": 1,'
    body += ' "data": {"id": "batch_1"}}'
    assert endpoint.signing_secret is not None
    headers = signed(endpoint.signing_secret, body)
    event = tenant.client.webhooks.unwrap(body, headers, secret=endpoint.signing_secret)
    assert event.type == "batch.completed"
    assert event.data.id == "batch_1"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        tenant.client.webhooks.unwrap(body + " ", headers, secret=endpoint.signing_secret)


def signed(secret: str, body: str) -> dict[str, str]:
    moment = datetime.now(UTC)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", moment, body),
    }


def test_errors_are_the_clients_own(tenant: Tenant) -> None:
    client = tenant.client
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("ft:pocket:nobody::x")
    assert (missing.value.code, missing.value.type) == ("model_not_found", "invalid_request_error")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").models.list()
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(model=BASE, training_file=5)  # type: ignore[arg-type]
    assert refused.value.param == "training_file"
