"""Batches over HTTP with the official client: made, seen, answered, cancelled, nobody else's."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import openai
import pytest
from sqlalchemy import update
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, wait_for

from tunesmith.platform.database.models import Batch

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def requests(count: int, model: str = BASE, **body: Any) -> bytes:
    """A batch's input."""
    said = {"model": model, "messages": [{"role": "user", "content": "hi"}]} | body
    return b"".join(
        json.dumps({"custom_id": f"r{n}", "method": "POST", "url": CHAT, "body": said}).encode()
        + b"\n"
        for n in range(count)
    )


def upload(tenant: Tenant, data: bytes, purpose: Any = "batch") -> str:
    return tenant.client.files.create(file=("in.jsonl", data), purpose=purpose).id


def create(tenant: Tenant, data: bytes, **more: Any) -> Any:
    return tenant.client.batches.create(
        input_file_id=upload(tenant, data), endpoint=CHAT, completion_window="24h", **more
    )


def ended(tenant: Tenant, batch_id: str) -> Any:
    wait_for(lambda: tenant.client.batches.retrieve(batch_id).status in ENDED)
    return tenant.client.batches.retrieve(batch_id)


def lines(tenant: Tenant, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    content = tenant.client.files.content(file_id).content
    return [json.loads(line) for line in content.splitlines()]


def test_a_batch_is_answered_into_a_file(gateway: Gateway, tenant: Tenant) -> None:
    made = create(
        tenant,
        requests(5),
        metadata={"for": "tests"},
        output_expires_after={"anchor": "created_at", "seconds": 7200},
    )
    assert (made.object, made.endpoint, made.completion_window) == ("batch", CHAT, "24h")
    assert (made.metadata, made.output_file_id) == ({"for": "tests"}, None)
    assert made.expires_at == made.created_at + 24 * 3600
    batch = ended(tenant, made.id)
    assert (batch.status, batch.errors, batch.error_file_id) == ("completed", None, None)
    assert batch.request_counts.model_dump() == {"total": 5, "completed": 5, "failed": 0}
    assert batch.created_at <= batch.in_progress_at <= batch.completed_at
    output = lines(tenant, batch.output_file_id)
    assert sorted(line["custom_id"] for line in output) == [f"r{n}" for n in range(5)]
    answer = output[0]["response"]
    assert (answer["status_code"], answer["body"]["model"]) == (200, BASE)
    assert answer["request_id"]
    file = tenant.client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{made.id}_output.jsonl")
    assert file.expires_at == file.created_at + 7200
    listed = tenant.client.files.list(purpose="batch_output").data
    assert [found.id for found in listed] == [file.id]
    usage = tenant.http.get("/v1/usage").json()
    assert sum(row["requests"] for row in usage["data"]) <= 5  # written within a second


def test_a_tuned_model_answers_and_one_that_is_no_more_fails_the_batch(
    gateway: Gateway, tenant: Tenant, shared_engine: FakeEngine
) -> None:
    name, digest = gateway.train(tenant)
    shared_engine.adapters.add(digest)
    batch = ended(tenant, create(tenant, requests(2, name)).id)
    output = lines(tenant, batch.output_file_id)
    assert {line["response"]["body"]["model"] for line in output} == {name}
    other = gateway.tenant()
    foreign = ended(other, create(other, requests(2, name)).id)
    unknown = ended(other, create(other, requests(2, "ft:nothing")).id)
    for failed in (foreign, unknown):
        assert failed.status == "failed"
        assert [(e.code, e.line, e.param) for e in failed.errors.data] == [
            ("model_not_found", 1, "body.model")
        ]


def test_what_the_engine_refuses_goes_to_the_error_file(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    tenant = make_gateway().tenant()
    engine.fail_with = (400, {"error": {"message": "too hot", "param": "temperature"}})
    batch = ended(tenant, create(tenant, requests(2)).id)
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 2, "completed": 0, "failed": 2}
    assert batch.output_file_id is None
    for line in lines(tenant, batch.error_file_id):
        assert (line["error"], line["response"]["status_code"]) == (None, 400)
        assert line["response"]["body"]["error"]["message"] == "too hot"


def test_a_cancel_takes_effect_within_seconds(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway(batch_concurrency=2)
    tenant = gateway.tenant()
    engine.hold.clear()
    made = create(tenant, requests(5))
    wait_for(engine.started.is_set)
    assert tenant.client.batches.cancel(made.id).status == "cancelling"
    batch = ended(tenant, made.id)
    assert (batch.status, batch.request_counts.completed) == ("cancelled", 0)
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    assert batch.cancelling_at <= batch.cancelled_at <= time.time()
    wait_for(engine.aborted.is_set)
    assert tenant.client.batches.cancel(made.id).status == "cancelled"


def test_a_batch_that_has_ended_cannot_be_cancelled(gateway: Gateway, tenant: Tenant) -> None:
    batch = ended(tenant, create(tenant, b"not json\n").id)
    assert batch.status == "failed"
    assert [(e.code, e.line) for e in batch.errors.data] == [("invalid_json_line", 1)]
    with pytest.raises(openai.BadRequestError, match="failed already"):
        tenant.client.batches.cancel(batch.id)


def test_another_gateway_goes_on_with_a_batch(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    first = make_gateway(batch_concurrency=2)
    tenant = first.tenant()
    engine.hold.clear()
    made = create(tenant, requests(4))
    wait_for(engine.started.is_set)
    shared = {
        "database_url": first.settings.database_url,
        "storage_url": first.settings.storage_url,
    }
    second = make_gateway(batch_concurrency=2, **shared)
    first.served.kill()
    engine.hold.set()
    with second.database.transaction() as session:  # as if its process were gone
        session.execute(update(Batch).values(lease_expires_at=0.0, lease_token=None))
    client = tenant.client.with_options(base_url=f"{second.url}/v1")
    wait_for(lambda: client.batches.retrieve(made.id).status in ENDED)
    batch = client.batches.retrieve(made.id)
    assert batch.status == "completed"
    assert batch.output_file_id is not None
    content = client.files.content(batch.output_file_id).content
    names = [json.loads(line)["custom_id"] for line in content.splitlines()]
    assert sorted(names) == [f"r{n}" for n in range(4)]


def test_batches_come_in_pages_newest_first(tenant: Tenant) -> None:
    made = [create(tenant, requests(1)).id for _ in range(3)]
    assert [batch.id for batch in tenant.client.batches.list(limit=2)] == made[::-1]
    first = tenant.http.get("/v1/batches?limit=2").json()
    assert (first["has_more"], first["last_id"]) == (True, made[1])
    assert tenant.http.get("/v1/batches?limit=0").status_code == 400


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-nothing"}, "input_file_id"),
        ({"input_file_id": None}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, None),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_creates_are_refused(
    sqlite_gateway: Gateway, change: dict[str, Any], param: str | None
) -> None:
    tenant = sqlite_gateway.tenant()
    asked = {
        "input_file_id": upload(tenant, requests(1)),
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    answer = tenant.http.post("/v1/batches", json=asked | change)
    assert answer.status_code in (400, 404), answer.text
    assert param is None or error_of(answer)["param"] == param


def test_a_file_of_another_purpose_is_refused(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    file = upload(tenant, requests(1), "user_data")
    with pytest.raises(openai.BadRequestError, match="purpose 'batch'"):
        tenant.client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")


def test_another_tenants_batches_do_not_exist(gateway: Gateway, tenant: Tenant) -> None:
    other = gateway.tenant()
    made = create(tenant, requests(1))
    for method, path in (
        ("GET", "/v1/batches/{}"),
        ("POST", "/v1/batches/{}/cancel"),
        ("GET", "/v1/batches?after={}"),
    ):
        refused = other.http.request(method, path.format(made.id))
        unknown = other.http.request(method, path.format("batch_x"))
        assert (refused.status_code, unknown.status_code) == (404, 404)
        expected = error_of(unknown)
        expected["message"] = expected["message"].replace("batch_x", made.id)
        assert error_of(refused) == expected
    file = upload(tenant, requests(1))
    with pytest.raises(openai.NotFoundError):
        other.client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")
    assert list(other.client.batches.list()) == []
