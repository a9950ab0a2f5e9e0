"""Health, readiness, metrics, the document, and what every answer carries."""

from __future__ import annotations

import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, Tenant, error_of, wait_for

from tunesmith.platform import bases, heartbeats
from tunesmith.platform.database.models import Heartbeat


def readiness(gateway: Gateway) -> tuple[int, dict[str, str | None]]:
    answer = httpx.get(f"{gateway.url}/readyz")
    parts = answer.json()["parts"]
    assert answer.json()["ready"] == all(part["ready"] for part in parts.values())
    return answer.status_code, {name: part["reason"] for name, part in parts.items()}


def test_all_parts_are_ready_once_the_dispatcher_gives_a_sign(gateway: Gateway) -> None:
    with gateway.database.transaction() as session:
        session.query(Heartbeat).delete()
    wait_for(lambda: readiness(gateway)[1]["engines"] is None)
    status, reasons = readiness(gateway)
    assert status == 503
    for lonely in ("dispatcher", "evaluator"):
        assert "never gave a sign of life" in str(reasons.pop(lonely))
    assert set(reasons.values()) == {None}
    assert httpx.get(f"{gateway.url}/readyz?part=gateway&part=storage").status_code == 200
    with gateway.database.transaction() as session:
        heartbeats.beat(session, "dispatcher")
        heartbeats.beat(session, "evaluator")
    status, reasons = readiness(gateway)
    assert (status, set(reasons.values())) == (200, {None})
    with gateway.database.transaction() as session:
        session.query(Heartbeat).update({"beaten_at": Heartbeat.beaten_at - 100})
    status, reasons = readiness(gateway)
    assert status == 503
    for lonely in ("dispatcher", "evaluator"):
        assert re.search(r"no sign of life for 10\d s", str(reasons[lonely]))
    assert httpx.get(f"{gateway.url}/readyz?part=moon").status_code == 400
    assert httpx.get(f"{gateway.url}/healthz").json() == {"status": "ok"}


def test_a_lost_storage_and_a_lost_engine_are_named(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway()
    storage = gateway.settings.home / "storage"
    if storage.exists():
        for path in sorted(storage.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        storage.rmdir()
    storage.write_text("not a folder")
    engine.kill()
    wait_for(lambda: readiness(gateway)[1]["engines"] is not None)
    _, reasons = readiness(gateway)
    assert engine.url in str(reasons["engines"])
    assert "storage" in str(reasons["storage"])
    assert reasons["database"] is None


def test_metrics_are_prometheus(gateway: Gateway, tenant: Tenant) -> None:
    tenant.client.fine_tuning.jobs.create(model="pocket", training_file=tenant.upload())
    tenant.http.get("/v1/files/file-nothing")
    tenant.http.get("/no/such/route")
    answer = httpx.get(f"{gateway.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert families >= {
        "tunesmith_requests",
        "tunesmith_request_seconds",
        "tunesmith_requests_in_flight",
        "tunesmith_engine_up",
        "tunesmith_database_up",
        "tunesmith_jobs",
        "tunesmith_tokens",
    }
    requests = "tunesmith_requests_total"
    assert gateway.metric(requests, method="GET", route="/v1/files/{file_id}", status="404") >= 1
    assert gateway.metric(requests, route="unknown", status="404") >= 1
    assert gateway.metric("tunesmith_jobs", status="validating_files") >= 1
    assert "/no/such/route" not in answer.text
    assert "file-nothing" not in answer.text


def test_every_answer_carries_its_ids(gateway: Gateway, tenant: Tenant) -> None:
    answer = tenant.http.get("/v1/models", headers={"x-request-id": "my-id.1"})
    assert answer.headers["x-request-id"] == "my-id.1"
    assert answer.headers["openai-organization"] == tenant.id
    assert answer.headers["openai-processing-ms"].isdigit()
    raw = tenant.client.models.with_raw_response.list()
    assert str(raw.headers["x-request-id"]).startswith("req_")
    bad = tenant.http.get("/v1/models", headers={"x-request-id": "a b\tc"})
    assert bad.headers["x-request-id"].startswith("req_")
    assert "x-request-id" in httpx.get(f"{gateway.url}/v1/models").headers  # also of a 401


def test_routes_that_are_not_there(gateway: Gateway, tenant: Tenant) -> None:
    answer = tenant.http.get("/v1/assistants")
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "unknown_url"
    answer = tenant.http.put("/v1/files")
    assert answer.status_code == 405
    assert error_of(answer)["code"] == "method_not_allowed"
    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]
    answer = tenant.http.get("/v1/files/%00")
    assert answer.status_code == 400
    assert error_of(answer)["message"]
    assert tenant.http.get("/v1/files?after=%00").status_code == 400
    for limit in ("0", "-1", "x", "10001", "9" * 30):
        answer = tenant.http.get(f"/v1/files?limit={limit}")
        assert answer.status_code == 400, limit
        assert error_of(answer)["param"] == "limit"


def test_a_fault_of_ours_shows_nothing_but_the_request_id(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_gateway().tenant()

    def broken(*_: object) -> None:
        raise KeyError("a secret of the inside")

    with monkeypatch.context() as patched:
        patched.setattr(bases, "list_bases", broken)
        answer = tenant.http.get("/v1/models")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in error_of(answer)["message"]
    assert tenant.http.get("/v1/models").status_code == 200


def test_the_document_has_every_shape(gateway: Gateway) -> None:
    document = httpx.get(f"{gateway.url}/openapi.json", timeout=60).json()
    for path, ways in document["paths"].items():
        for method, operation in ways.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation.get("description"), where
            good = operation["responses"]["200"]
            for content in good["content"].values():
                assert content["schema"], where
            assert "422" not in operation["responses"], where
            if path.startswith("/v1/"):
                assert operation["security"], where
            if method == "post" and path.rsplit("/", 1)[1] not in ("cancel", "pause", "resume"):
                assert operation["requestBody"]["content"], where
    assert "HTTPValidationError" not in document["components"]["schemas"]
