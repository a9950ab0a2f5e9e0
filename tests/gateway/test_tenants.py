"""The management of tenants and keys: limits, suspension, expiry, rotation, their own admin."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, wait_for

from tunesmith.platform import tenants
from tunesmith.platform.domain.ids import random_text

OWN_KEYS = "/v1/organization/api_keys"


def opens(gateway: Gateway, key: str) -> bool:
    answer = gateway.anonymous(key).get("/v1/models")
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


def made_key(gateway: Gateway, tenant: Tenant, **body: Any) -> dict[str, Any]:
    answer = gateway.admin.post(f"/v1/tenants/{tenant.id}/keys", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_tenant_is_limited_limit_by_limit(gateway: Gateway) -> None:
    name = f"limited {random_text(6)}"
    made = gateway.admin.post("/v1/tenants", json={"name": name, "limits": {"adapters": 3}}).json()
    path = f"/v1/tenants/{made['id']}"
    assert made["limits"]["adapters"] == 3
    assert made["limits"]["requests_per_minute"] is None
    changed = gateway.admin.patch(path, json={"limits": {"queued_jobs": 7}}).json()
    assert (changed["limits"]["adapters"], changed["limits"]["queued_jobs"]) == (3, 7)
    changed = gateway.admin.patch(path, json={"limits": {"adapters": None}}).json()
    assert (changed["limits"]["adapters"], changed["limits"]["queued_jobs"]) == (None, 7)
    changed = gateway.admin.patch(path, json={"limits": None}).json()
    assert set(changed["limits"].values()) == {None}
    assert gateway.admin.get(path).json() == changed


@pytest.mark.parametrize(
    "limits", [{"adapters": 0}, {"adapters": 1.5}, {"adapters": True}, {"adaptors": 1}, 3]
)
def test_a_limit_that_is_none_is_refused(sqlite_gateway: Gateway, limits: object) -> None:
    tenant = sqlite_gateway.tenant()
    answer = sqlite_gateway.admin.patch(f"/v1/tenants/{tenant.id}", json={"limits": limits})
    assert answer.status_code == 400
    assert str(error_of(answer)["param"]).startswith("limits")


def test_a_key_has_only_the_limits_of_requests(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    made = made_key(sqlite_gateway, tenant, limits={"tokens_per_minute": 5})
    assert made["limits"]["tokens_per_minute"] == 5
    answer = sqlite_gateway.admin.post(
        f"/v1/tenants/{tenant.id}/keys", json={"limits": {"adapters": 1}}
    )
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "limits.adapters"


def test_a_suspended_tenant_is_told_so_and_its_job_goes_on(gateway: Gateway) -> None:
    tenant, other = gateway.tenant(), gateway.tenant()
    job = tenant.client.fine_tuning.jobs.create(model=BASE, training_file=tenant.upload())
    gateway.prepare(job.id)
    gateway.begin(job.id)
    path = f"/v1/tenants/{tenant.id}"

    suspended = gateway.admin.patch(path, json={"suspended": True}).json()
    assert suspended["suspended_at"] is not None
    for _ in range(2):  # also when the answer comes from the cache
        answer = tenant.http.get("/v1/models")
        assert answer.status_code == 403
        assert error_of(answer)["code"] == "tenant_suspended"
    creation = {"model": BASE, "training_file": job.training_file}
    assert tenant.http.post("/v1/fine_tuning/jobs", json=creation).status_code == 403
    assert gateway.anonymous("sk-ts-unknown").get("/v1/models").status_code == 401
    assert other.http.get("/v1/models").status_code == 200

    again = gateway.admin.patch(path, json={"suspended": True}).json()
    assert again["suspended_at"] == suspended["suspended_at"]
    assert gateway.admin.patch(path, json={"suspended": False}).json()["suspended_at"] is None
    assert tenant.client.fine_tuning.jobs.retrieve(job.id).status == "running"


def test_a_suspension_by_another_process_counts_soon(gateway: Gateway, tenant: Tenant) -> None:
    assert tenant.http.get("/v1/models").status_code == 200
    with gateway.database.transaction() as session:
        tenants.suspend_tenant(session, tenants.get_tenant(session, tenant.id))
    wait_for(lambda: tenant.http.get("/v1/models").status_code == 403)


def test_a_renamed_tenant_keeps_its_slug(gateway: Gateway, tenant: Tenant) -> None:
    path = f"/v1/tenants/{tenant.id}"
    before = gateway.admin.get(path).json()
    name = f"new name {random_text(6)}"
    after = gateway.admin.patch(path, json={"name": name}).json()
    assert (after["name"], after["slug"]) == (name, before["slug"])
    for called in (name, before["slug"], tenant.id):
        found = gateway.admin.get("/v1/tenants", params={"name": called}).json()["data"]
        assert [one["id"] for one in found] == [tenant.id]
    assert gateway.admin.get(f"/v1/tenants/{before['name']}").status_code == 404
    taken = gateway.admin.get(f"/v1/tenants/{gateway.tenant().id}").json()["name"]
    answer = gateway.admin.patch(path, json={"name": taken})
    assert error_of(answer)["code"] == "name_taken"


def test_tenants_and_keys_come_in_pages(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    made = [tenant.key, *(made_key(sqlite_gateway, tenant)["key"] for _ in range(4))]
    found: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = tenant.http.get(OWN_KEYS, params={"limit": 2} | after).json()
        found += [key["hint"][-4:] for key in page["data"]]
        if not page["has_more"]:
            break
        after = {"after": page["data"][-1]["id"]}
    assert found == [key[-4:] for key in made]
    first = sqlite_gateway.admin.get("/v1/tenants", params={"limit": 1}).json()
    assert first["has_more"]
    answer = sqlite_gateway.admin.get("/v1/tenants", params={"after": first["data"][0]["id"]})
    assert tenant.id in {one["id"] for one in answer.json()["data"]}


def test_a_key_stops_when_it_expires(gateway: Gateway, tenant: Tenant) -> None:
    made = made_key(gateway, tenant, expires_in=3600)
    assert abs(made["expires_at"] - time.time() - 3600) < 600
    assert opens(gateway, made["key"])
    with gateway.database.transaction() as session:
        tenants.get_key(session, tenant.id, made["id"]).expires_at = time.time() - 1
    wait_for(lambda: not opens(gateway, made["key"]))
    refused = gateway.anonymous(made["key"]).get("/v1/models")
    unknown = gateway.anonymous("sk-ts-unknown").get("/v1/models")
    said = [error_of(answer)["message"].partition(". ")[2] for answer in (refused, unknown)]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "body",
    [
        {"expires_in": 0},
        {"expires_at": 5},
        {"expires_in": 60, "expires_at": 4_000_000_000},
        {"expires_in": "60"},
        {"scopes": []},
        {"scopes": ["inference", "root"]},
        {"scopes": "inference"},
        {"name": ""},
    ],
)
def test_a_key_that_cannot_be_is_refused(sqlite_gateway: Gateway, body: dict[str, Any]) -> None:
    tenant = sqlite_gateway.tenant()
    for http, path in (
        (sqlite_gateway.admin, f"/v1/tenants/{tenant.id}/keys"),
        (tenant.http, OWN_KEYS),
    ):
        answer = http.post(path, json=body)
        assert answer.status_code == 400, answer.text
        error_of(answer)


def test_a_rotated_key_opens_until_the_overlap_ends(gateway: Gateway, tenant: Tenant) -> None:
    old = made_key(
        gateway, tenant, name="ci", scopes=["inference"], limits={"requests_per_minute": 9}
    )
    path = f"/v1/tenants/{tenant.id}/keys/{old['id']}"
    new = gateway.admin.post(f"{path}/rotate", json={"overlap_seconds": 600}).json()
    assert new["key"] != old["key"]
    for same in ("name", "scopes", "limits", "tenant"):
        assert new[same] == old[same]
    assert new["expires_at"] is None
    assert opens(gateway, old["key"])
    assert opens(gateway, new["key"])
    assert abs(gateway.admin.get(path).json()["expires_at"] - time.time() - 600) < 300

    again = gateway.admin.post(f"{path}/rotate", json={})
    assert again.status_code == 400
    assert error_of(again)["code"] == "key_rotated"
    assert new["id"] in error_of(again)["message"]

    path = f"/v1/tenants/{tenant.id}/keys/{new['id']}"
    newest = gateway.admin.post(f"{path}/rotate", json={"overlap_seconds": 0}).json()
    assert not opens(gateway, new["key"])
    assert opens(gateway, newest["key"])
    for method, url, body in (("POST", f"{path}/rotate", {}), ("PATCH", path, {"name": "x"})):
        answer = gateway.admin.request(method, url, json=body)
        assert answer.status_code == 400
        assert error_of(answer)["code"] == "key_not_active"


def test_a_change_of_a_key_counts_at_once(gateway: Gateway, tenant: Tenant) -> None:
    made = made_key(gateway, tenant, scopes=["training"])
    http = gateway.anonymous(made["key"])
    assert http.get("/v1/files").status_code == 200
    path = f"/v1/tenants/{tenant.id}/keys/{made['id']}"
    changed = gateway.admin.patch(path, json={"scopes": ["inference"], "name": "other"}).json()
    assert (changed["scopes"], changed["name"]) == (["inference"], "other")
    assert http.get("/v1/files").status_code == 403


def test_a_tenants_admin_manages_its_own_keys(gateway: Gateway, tenant: Tenant) -> None:
    made = tenant.http.post(OWN_KEYS, json={"name": "app", "scopes": ["inference"]}).json()
    assert made["tenant"] == tenant.id
    assert opens(gateway, made["key"])
    assert [key["id"] for key in tenant.http.get(OWN_KEYS).json()["data"]][1:] == [made["id"]]
    assert made["key"] not in tenant.http.get(OWN_KEYS).text
    rotated = tenant.http.post(f"{OWN_KEYS}/{made['id']}/rotate", content=b"").json()
    assert opens(gateway, rotated["key"])
    assert tenant.http.delete(f"{OWN_KEYS}/{rotated['id']}").json()["revoked_at"] is not None
    assert not opens(gateway, rotated["key"])
    app = gateway.anonymous(made["key"])
    assert app.post(OWN_KEYS, json={"scopes": ["admin"]}).status_code == 403

    # The last key with the scope admin may go: the administrator can make another.
    (own,) = [key for key in tenant.http.get(OWN_KEYS).json()["data"] if "admin" in key["scopes"]]
    assert tenant.http.delete(f"{OWN_KEYS}/{own['id']}").status_code == 200
    assert not opens(gateway, tenant.key)
    assert opens(gateway, made_key(gateway, tenant)["key"])


def test_a_key_that_is_too_long_is_an_unknown_key(sqlite_gateway: Gateway) -> None:
    for key in ("x" * 5000, "eyJ" + "x" * 5000 + ".e30.x"):
        answer = httpx.get(
            f"{sqlite_gateway.url}/v1/models", headers={"authorization": f"Bearer {key}"}
        )
        assert answer.status_code == 401
