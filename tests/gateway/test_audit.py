"""The audit log: every act with who, what and when, in the act's own transaction, no secrets."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of

from tunesmith.platform import audit

LOGS = "/v1/organization/audit_logs"


def acts(gateway: Gateway, **wanted: Any) -> list[dict[str, Any]]:
    """Acts as the administrator sees them, oldest first."""
    answer = gateway.admin.get(LOGS, params={"limit": 1000} | wanted)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found[::-1]


def types(gateway: Gateway, tenant: Tenant) -> list[str]:
    return [act["type"] for act in acts(gateway, tenant=tenant.id)]


def test_every_act_on_a_tenant_and_its_keys_is_there(gateway: Gateway, tenant: Tenant) -> None:
    path = f"/v1/tenants/{tenant.id}"
    gateway.admin.patch(path, json={"limits": {"adapters": 3}})
    gateway.admin.patch(path, json={"limits": {"adapters": 3}})  # changes nothing
    gateway.admin.patch(path, json={"suspended": True})
    gateway.admin.patch(path, json={"suspended": False})
    headers = {"x-request-id": "the-request"}
    key = gateway.admin.post(
        f"{path}/keys", json={"name": "ci", "scopes": ["training"]}, headers=headers
    ).json()
    gateway.admin.patch(f"{path}/keys/{key['id']}", json={"limits": {"requests_per_minute": 5}})
    new = gateway.admin.post(f"{path}/keys/{key['id']}/rotate", json={}).json()
    gateway.admin.delete(f"{path}/keys/{key['id']}")
    gateway.admin.delete(f"{path}/keys/{key['id']}")  # changes nothing

    found = acts(gateway, tenant=tenant.id)
    assert [(act["type"], act["target"]) for act in found[2:]] == [
        ("tenant.updated", tenant.id),
        ("tenant.suspended", tenant.id),
        ("tenant.reinstated", tenant.id),
        ("api_key.created", key["id"]),
        ("api_key.updated", key["id"]),
        ("api_key.rotated", key["id"]),
        ("api_key.revoked", key["id"]),
    ]
    assert [act["type"] for act in found[:2]] == ["tenant.created", "api_key.created"]
    assert found[2]["detail"] == {"limits": {"adapters": 3}}
    created = found[5]
    assert created["request_id"] == "the-request"
    assert created["detail"]["scopes"] == ["training"]
    assert created["object"] == "organization.audit_log"
    assert abs(created["effective_at"] - time.time()) < 600
    assert found[7]["detail"]["new_key"] == new["id"]
    actors = {act["actor"]["id"] for act in found}
    assert len(actors) == 1
    for text in (key["key"], new["key"], tenant.key):
        assert text not in json.dumps(found)


def test_acts_of_a_tenant_are_its_own_to_see(gateway: Gateway, tenant: Tenant) -> None:
    other = gateway.tenant()
    other.http.post("/v1/policy", json={"minimum_relative_improvement": 0.5})
    tenant.http.post("/v1/policy", json={"minimum_relative_improvement": 0.4})
    seen = tenant.http.get(LOGS).json()["data"]
    assert [act["type"] for act in seen] == ["policy.updated", "api_key.created", "tenant.created"]
    assert {act["tenant"] for act in seen} == {tenant.id}
    assert tenant.http.get(LOGS, params={"tenant": other.id}).status_code == 403
    assert gateway.admin.get(LOGS, params={"tenant": "org-nobody"}).status_code == 404


def test_aliases_models_and_files_leave_acts(gateway: Gateway, tenant: Tenant) -> None:
    model, _ = gateway.train(tenant)
    alias = "/v1/aliases/bot"
    tenant.http.post("/v1/aliases", json={"name": "bot", "model": BASE})
    tenant.http.post(f"{alias}/promote", json={"model": model})  # the gate refuses it
    forced = {"model": model, "force": True, "reason": "known to be good"}
    tenant.http.post(f"{alias}/promote", json=forced)
    tenant.http.post(f"{alias}/split", json={"candidate": BASE, "share": 0.5})
    tenant.http.delete(f"{alias}/split")
    tenant.http.post(f"{alias}/rollback")
    tenant.http.delete(alias)
    tenant.client.models.delete(model)
    file = tenant.upload()
    tenant.client.files.delete(file)
    found = acts(gateway, tenant=tenant.id)[2:]
    assert [act["type"] for act in found] == [
        "alias.created",
        "alias.promoted",
        "alias.split",
        "alias.split_ended",
        "alias.rolled_back",
        "alias.deleted",
        "model.deleted",
        "file.deleted",
    ]
    assert found[1]["detail"] == {
        "revision": 2,
        "model": model,
        "forced": True,
        "reason": "known to be good",
    }
    assert (found[-2]["target"], found[-1]["target"]) == (model, file)
    own = tenant.http.get("/v1/organization/api_keys").json()["data"][0]["id"]
    assert {act["actor"]["id"] for act in found} == {own}


def test_acts_are_found_by_kind_actor_target_and_time(gateway: Gateway, tenant: Tenant) -> None:
    path = f"/v1/tenants/{tenant.id}/keys"
    key = gateway.admin.post(path, json={}).json()
    gateway.admin.delete(f"{path}/{key['id']}")

    def found(**wanted: Any) -> list[str]:
        return [act["type"] for act in acts(gateway, tenant=tenant.id, **wanted)]

    assert found(**{"event_types[]": ["api_key.revoked", "tenant.created"]}) == [
        "tenant.created",
        "api_key.revoked",
    ]
    assert found(**{"resource_ids[]": key["id"]}) == ["api_key.created", "api_key.revoked"]
    assert found(**{"actor_ids[]": "key_nobody"}) == []
    now = int(time.time())
    assert len(found(**{"effective_at[gte]": now - 600, "effective_at[lt]": now + 600})) == 4
    assert found(**{"effective_at[gte]": now + 600}) == []
    assert found(**{"effective_at[lt]": now - 600}) == []
    answer = gateway.admin.get(LOGS, params={"effective_at[gte]": "yesterday"})
    assert answer.status_code == 400


def test_acts_come_in_pages_newest_first(gateway: Gateway, tenant: Tenant) -> None:
    for bar in (0.1, 0.2, 0.3):
        tenant.http.post("/v1/policy", json={"minimum_relative_improvement": bar})
    bars: list[Any] = []
    after: dict[str, Any] = {"event_types[]": "policy.updated"}
    while True:
        page = tenant.http.get(LOGS, params={"limit": 2} | after).json()
        bars += [act["detail"]["minimum_relative_improvement"] for act in page["data"]]
        assert page["last_id"] == page["data"][-1]["id"]
        if not page["has_more"]:
            break
        after["after"] = page["last_id"]
    assert bars == [0.3, 0.2, 0.1]


def test_an_act_and_its_line_come_together_or_not_at_all(
    gateway: Gateway, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = types(gateway, tenant)
    # An act that fails leaves no line.
    path = f"/v1/tenants/{tenant.id}"
    answer = gateway.admin.patch(path, json={"suspended": True, "name": " "})
    assert answer.status_code == 400
    assert gateway.admin.get(path).json()["suspended_at"] is None
    assert types(gateway, tenant) == before

    # A line that cannot be written undoes the act.
    def fail(**_: Any) -> Any:
        raise OSError("no room for a line")

    with monkeypatch.context() as patched:
        patched.setattr(audit, "Audit", fail)
        for method, url, body in (
            ("PATCH", path, {"suspended": True}),
            ("POST", f"{path}/keys", {"name": "never"}),
            ("POST", "/v1/tenants", {"name": f"never {tenant.id}"}),
        ):
            answer = gateway.admin.request(method, url, json=body)
            assert answer.status_code == 500
            assert "no room" not in error_of(answer)["message"]
        assert tenant.http.post("/v1/aliases", json={"name": "a", "model": BASE}).status_code == 500
    assert gateway.admin.get(path).json()["suspended_at"] is None
    assert len(gateway.admin.get(f"{path}/keys").json()["data"]) == 1
    named = gateway.admin.get("/v1/tenants", params={"name": f"never {tenant.id}"})
    assert named.json()["data"] == []
    assert tenant.http.get("/v1/aliases").json()["data"] == []
    assert types(gateway, tenant) == before


def test_the_administrators_own_key_leaves_acts(sqlite_gateway: Gateway) -> None:
    found = acts(sqlite_gateway, **{"actor_ids[]": "settings"})
    assert found[0]["type"] == "admin_api_key.created"
    assert found[0]["actor"] == {"type": "settings", "id": "settings"}
    assert found[0]["tenant"] is None


def test_changes_of_webhooks_leave_acts_without_their_secrets(
    gateway: Gateway, tenant: Tenant
) -> None:
    body = {"name": "ops", "url": "https://93.184.215.14/hook", "event_types": ["batch.completed"]}
    made = tenant.http.post("/v1/webhook_endpoints", json=body).json()
    path = f"/v1/webhook_endpoints/{made['id']}"
    tenant.http.post(path, json={"name": "operations"})
    tenant.http.post(f"{path}/rotate_secret", json={})
    tenant.http.delete(path)
    found = acts(gateway, tenant=tenant.id)[2:]
    assert [(act["type"], act["target"]) for act in found] == [
        ("webhook_endpoint.created", made["id"]),
        ("webhook_endpoint.updated", made["id"]),
        ("webhook_endpoint.secret_rotated", made["id"]),
        ("webhook_endpoint.deleted", made["id"]),
    ]
    assert found[1]["detail"] == {"name": "operations"}
    assert "whsec_" not in json.dumps(found)
