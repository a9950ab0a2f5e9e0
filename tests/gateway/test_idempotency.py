"""Idempotent creates over HTTP: once, however often they are sent."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from starlette.concurrency import run_in_threadpool
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, examples

from tunesmith.gateway.aliases import endpoints as alias_routes
from tunesmith.platform.database.models import Idempotency

ALIASES = "/v1/aliases"
HOOKS = "/v1/webhook_endpoints"
HOOK = {"name": "mine", "url": "https://8.8.8.8/hook", "event_types": ["batch.failed"]}


def post(tenant: Tenant, key: str, path: str = HOOKS, **body: Any) -> httpx.Response:
    fields = HOOK | body if path == HOOKS else body
    return tenant.http.post(path, json=fields, headers={"idempotency-key": key})


def test_the_same_key_and_body_get_the_first_answer(tenant: Tenant) -> None:
    first, again = post(tenant, "one"), post(tenant, "one")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(tenant.http.get(HOOKS).json()["data"]) == 1
    assert post(tenant, "two").json()["id"] != first.json()["id"]
    without = [tenant.http.post(HOOKS, json=HOOK).json()["id"] for _ in range(2)]
    assert without[0] != without[1]


def test_the_order_of_a_bodys_members_makes_no_other_body(tenant: Tenant) -> None:
    first = post(tenant, "one")
    turned = dict(reversed(HOOK.items()))
    again = tenant.http.post(HOOKS, json=turned, headers={"idempotency-key": "one"})
    assert again.json() == first.json()


def test_the_same_key_for_another_body_is_refused(tenant: Tenant) -> None:
    post(tenant, "one")
    answer = post(tenant, "one", name="another")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "idempotency_key_reused")


def test_keys_of_tenants_and_of_routes_are_their_own(gateway: Gateway, tenant: Tenant) -> None:
    first = post(tenant, "one").json()
    other = post(gateway.tenant(), "one", name="theirs")
    assert other.status_code == 200
    assert other.json()["id"] != first["id"]
    assert post(tenant, "one", ALIASES, name="bot", model=BASE).status_code == 200


def test_an_error_is_not_kept(tenant: Tenant) -> None:
    refused = post(tenant, "one", ALIASES, name="bot", model="nothing")
    assert refused.status_code == 404
    assert post(tenant, "one", ALIASES, name="bot", model=BASE).status_code == 200


def test_what_is_kept_is_kept_for_a_day(gateway: Gateway, tenant: Tenant) -> None:
    first = post(tenant, "one").json()
    with gateway.database.transaction() as session:
        row = session.scalars(select(Idempotency).where(Idempotency.tenant_id == tenant.id)).one()
        assert 86_300 < row.expires_at - row.created_at < 86_500
        session.execute(
            update(Idempotency).where(Idempotency.tenant_id == tenant.id).values(expires_at=1.0)
        )
    assert post(tenant, "one", name="another").json()["id"] != first["id"]
    for number in range(6):
        post(tenant, f"old-{number}")
    with gateway.database.transaction() as session:
        session.execute(
            update(Idempotency).where(Idempotency.tenant_id == tenant.id).values(expires_at=1.0)
        )
    for number in range(2):  # each forgets a few that are over
        post(tenant, f"new-{number}")
    with gateway.database.reading() as session:
        left = session.scalars(
            select(Idempotency.key).where(Idempotency.tenant_id == tenant.id)
        ).all()
    assert sorted(left) == ["new-0", "new-1"]


def test_a_repeat_that_comes_too_early_is_told_to_wait(tenant: Tenant) -> None:
    begun, go_on = threading.Event(), threading.Event()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as threads:
        patch.setattr(alias_routes, "run_in_threadpool", _before(begun, go_on))
        first = threads.submit(post, tenant, "one", ALIASES, name="bot", model=BASE)
        assert begun.wait(30)
        early = post(tenant, "one", ALIASES, name="bot", model=BASE)
        go_on.set()
        assert first.result().status_code == 200
    assert (early.status_code, error_of(early)["code"]) == (409, "idempotency_in_progress")
    assert early.headers["retry-after"] == "1"
    assert "x-should-retry" not in early.headers
    late = post(tenant, "one", ALIASES, name="bot", model=BASE)
    assert late.json() == first.result().json()


def test_of_many_at_once_one_creates(tenant: Tenant) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: post(tenant, "one"), range(8)))
    made = {answer.json()["id"] for answer in answers if answer.status_code == 200}
    assert len(made) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(tenant.http.get(HOOKS).json()["data"]) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
def test_a_key_that_is_none_is_refused(tenant: Tenant, key: str) -> None:
    answer = post(tenant, key)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_idempotency_key")


def test_a_key_that_may_do_less_is_not_shown_the_answer(gateway: Gateway, tenant: Tenant) -> None:
    first = post(tenant, "one").json()
    made = gateway.admin.post(
        f"/v1/tenants/{tenant.id}/keys", json={"name": "asks", "scopes": ["inference"]}
    )
    if made.status_code != 200:
        pytest.skip("keys have no scopes by the API yet")
    weak = gateway.anonymous(made.json()["key"])
    answer = weak.post(HOOKS, json=HOOK, headers={"idempotency-key": "one"})
    assert answer.status_code in (400, 403)
    assert first["signing_secret"] not in answer.text


def test_a_file_is_known_by_its_content(tenant: Tenant) -> None:
    def upload(name: str, data: bytes) -> httpx.Response:
        return tenant.http.post(
            "/v1/files",
            files={"file": (name, data)},
            data={"purpose": "fine-tune"},
            headers={"idempotency-key": "one"},
        )

    content = examples()
    first, again = upload("a.jsonl", content), upload("a.jsonl", content)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    for name, data in (("a.jsonl", examples(13)), ("b.jsonl", content)):
        answer = upload(name, data)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "idempotency_key_reused")
    assert len(tenant.client.files.list().data) == 1
    stored = tenant.client.files.content(first.json()["id"]).read()
    assert stored == content


def test_jobs_keep_their_own_way(tenant: Tenant) -> None:
    file = tenant.upload()
    body = {"model": BASE, "training_file": file}
    headers = {"idempotency-key": "one"}
    first, again = (
        tenant.http.post("/v1/fine_tuning/jobs", json=body, headers=headers).json()["id"]
        for _ in range(2)
    )
    assert first == again


def _before(begun: threading.Event, go_on: threading.Event) -> Any:
    """`run_in_threadpool`, which says that it was called and waits for leave."""

    def held(call: Any, *given: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return call(*given)

    async def run(call: Any, *given: Any) -> Any:
        return await run_in_threadpool(held, call, *given)

    return run
