"""Keys and tenants: whose key opens what, and that a foreign thing is a missing thing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.gateway.gateways import ADMIN_KEY, BASE, Gateway, Tenant, error_of, wait_for
from tests.gateway.routes import ADMIN_ROUTES, ALL_ROUTES, OPEN_ROUTES, SHARED_ROUTES, TENANT_ROUTES

from tunesmith.platform import tenants

CHAT = {"model": "?", "messages": [{"role": "user", "content": "hi"}]}


def test_the_table_of_routes_has_all_routes(sqlite_gateway: Gateway) -> None:
    document = httpx.get(f"{sqlite_gateway.url}/openapi.json").json()
    served = {(m.upper(), path) for path, ways in document["paths"].items() for m in ways}
    named = {
        (method, path)
        for method, path in served
        for known_method, known in ALL_ROUTES
        if method == known_method
        and len(path.split("/")) == len(known.split("/"))
        and all(
            a == b or (a.startswith("{") and b == "x")
            for a, b in zip(path.split("/"), known.split("/"), strict=True)
        )
    }
    assert served == named


@pytest.mark.parametrize(("method", "path"), [r for r in ALL_ROUTES if r not in OPEN_ROUTES])
def test_without_a_good_key_nothing_answers(
    sqlite_gateway: Gateway, method: str, path: str
) -> None:
    for header in (None, "Bearer sk-ts-wrong", "Basic YTpi", "Bearer", "nonsense"):
        headers = {} if header is None else {"authorization": header}
        # What is wrong with the body is nobody's business before the key is right.
        content = b"{" if method == "POST" else None
        answer = sqlite_gateway.anonymous().request(method, path, headers=headers, content=content)
        assert answer.status_code == 401, (header, answer.text)
        assert error_of(answer)["code"] == "invalid_api_key"
        assert "wrong" not in answer.text


@pytest.mark.parametrize(("method", "path"), TENANT_ROUTES)
def test_the_administrator_is_no_tenant(sqlite_gateway: Gateway, method: str, path: str) -> None:
    json = {"model": "m", "training_file": "f"} if method in ("POST", "PATCH") else None
    answer = sqlite_gateway.admin.request(method, path, json=json)
    assert answer.status_code == 403
    assert "Create a tenant" in error_of(answer)["message"]


@pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
def test_a_tenant_is_no_administrator(sqlite_gateway: Gateway, method: str, path: str) -> None:
    tenant = sqlite_gateway.tenant()
    json = {"name": "n"} if method in ("POST", "PATCH") else None
    answer = tenant.http.request(method, path, json=json)
    assert answer.status_code == 403
    assert error_of(answer)["code"] == "insufficient_permissions"


@pytest.fixture(scope="module")
def key_of_one_scope(sqlite_gateway: Gateway) -> dict[str, httpx.Client]:
    """A key for each scope that has it alone, all of one tenant."""
    keys = f"/v1/tenants/{sqlite_gateway.tenant().id}/keys"
    made = {}
    for scope in sorted(tenants.SCOPES):
        answer = sqlite_gateway.admin.post(keys, json={"name": scope, "scopes": [scope]}).json()
        assert answer["scopes"] == [scope]
        made[scope] = sqlite_gateway.anonymous(answer["key"])
    return made


@pytest.mark.parametrize(("route", "needed"), (TENANT_ROUTES | SHARED_ROUTES).items())
def test_a_key_opens_the_routes_of_its_scopes_alone(
    key_of_one_scope: dict[str, httpx.Client], route: tuple[str, str], needed: str | None
) -> None:
    method, path = route
    for scope, http in key_of_one_scope.items():
        json = {"nonsense": 1} if method in ("POST", "PATCH") else None
        answer = http.request(method, path, json=json)
        if needed in (None, scope):
            assert answer.status_code not in (401, 403), answer.text
        else:
            assert answer.status_code == 403
            error = error_of(answer)
            assert error["code"] == "missing_scope"
            assert f"lacks the scope `{needed}`" in error["message"]
            assert f"it has `{scope}`" in error["message"]


def foreign_and_missing(owned: dict[str, str]) -> list[tuple[str, str, dict[str, Any] | None, str]]:
    """(method, path with `{id}`, body with `{id}`, kind of id) of every route that takes an id."""
    job = "/v1/fine_tuning/jobs"
    by_path: list[tuple[str, str, dict[str, Any] | None, str]] = [
        ("GET", "/v1/files/{id}", None, "file"),
        ("GET", "/v1/files/{id}/content", None, "file"),
        ("DELETE", "/v1/files/{id}", None, "file"),
        ("GET", "/v1/files?after={id}", None, "file"),
        ("GET", job + "/{id}", None, "job"),
        ("POST", job + "/{id}/cancel", None, "job"),
        ("POST", job + "/{id}/pause", None, "job"),
        ("POST", job + "/{id}/resume", None, "job"),
        ("GET", job + "/{id}/events", None, "job"),
        ("GET", job + "/{id}/checkpoints", None, "job"),
        ("GET", job + "?after={id}", None, "job"),
        ("GET", f"{job}/{owned['job']}/events?after={{id}}", None, "event"),
        ("GET", f"{job}/{owned['job']}/checkpoints?after={{id}}", None, "checkpoint"),
        ("GET", "/v1/organization/api_keys/{id}", None, "key"),
        ("PATCH", "/v1/organization/api_keys/{id}", {"name": "mine"}, "key"),
        ("DELETE", "/v1/organization/api_keys/{id}", None, "key"),
        ("POST", "/v1/organization/api_keys/{id}/rotate", {}, "key"),
        ("GET", "/v1/organization/api_keys?after={id}", None, "key"),
        ("GET", "/v1/organization/audit_logs?after={id}", None, "audit"),
        ("GET", "/v1/models/{id}", None, "model"),
        ("DELETE", "/v1/models/{id}", None, "model"),
        ("POST", "/v1/chat/completions", CHAT | {"model": "{id}"}, "model"),
        ("POST", "/v1/completions", {"model": "{id}", "prompt": "x"}, "model"),
    ]
    create = {"model": BASE, "training_file": owned["file"]}
    by_body: list[tuple[str, str, dict[str, Any] | None, str]] = [
        ("POST", job, create | {"model": "{id}"}, "model"),
        ("POST", job, create | {"training_file": "{id}"}, "file"),
        ("POST", job, create | {"validation_file": "{id}"}, "file"),
    ]
    return by_path + by_body


MISSING = {
    "file": "file-" + "x" * 24,
    "job": "ftjob-" + "x" * 24,
    "event": "ftevent-" + "x" * 24,
    "checkpoint": "ftckpt_" + "x" * 24,
    "model": "ft:pocket:nobody::xxxxxxxx",
    "key": "key_" + "x" * 16,
    "audit": "audit_log-" + "x" * 24,
}


def belongings(gateway: Gateway, tenant: Tenant) -> dict[str, str]:
    name, digest = gateway.train(tenant, checkpoints=[3])
    (job,) = tenant.client.fine_tuning.jobs.list()
    return {
        "file": job.training_file,
        "job": job.id,
        "event": tenant.client.fine_tuning.jobs.list_events(job.id).data[0].id,
        "checkpoint": tenant.client.fine_tuning.jobs.checkpoints.list(job.id).data[0].id,
        "model": name,
        "digest": digest,
        "key": tenant.http.get("/v1/organization/api_keys").json()["data"][0]["id"],
        "audit": tenant.http.get("/v1/organization/audit_logs").json()["data"][0]["id"],
    }


def test_a_foreign_thing_is_a_missing_thing_on_every_route(
    gateway: Gateway, tenant: Tenant
) -> None:
    owner = gateway.tenant()
    theirs = belongings(gateway, owner)
    own = belongings(gateway, tenant)

    def ask(method: str, path: str, body: dict[str, Any] | None, id_: str) -> tuple[int, str]:
        filled = None if body is None else {k: id_ if v == "{id}" else v for k, v in body.items()}
        answer = tenant.http.request(method, path.replace("{id}", id_), json=filled)
        error_of(answer)
        return answer.status_code, answer.text.replace(id_, "{id}")

    for method, path, body, kind in foreign_and_missing(own):
        foreign = ask(method, path, body, theirs[kind])
        missing = ask(method, path, body, MISSING[kind])
        assert foreign == missing, (method, path)
        assert foreign[0] == 404, (method, path, foreign)
    # A digest is the engine's name for a model, and nobody's name for anything here.
    for digest in (own["digest"], theirs["digest"]):
        assert (
            tenant.http.post("/v1/chat/completions", json=CHAT | {"model": digest}).status_code
            == 404
        )

    assert owner.client.files.retrieve(theirs["file"]).id == theirs["file"]
    assert owner.client.models.retrieve(theirs["model"]).id == theirs["model"]
    assert theirs["model"] not in {model.id for model in tenant.client.models.list()}
    assert theirs["file"] not in {file.id for file in tenant.client.files.list()}


def test_tenants_and_keys_are_managed_by_the_administrator(gateway: Gateway) -> None:
    name = f"Acme {id(gateway)}"
    made = gateway.admin.post("/v1/tenants", json={"name": name}).json()
    assert made["id"].startswith("org-")
    assert made["key"].startswith("sk-ts-")
    again = gateway.admin.post("/v1/tenants", json={"name": name})
    assert again.status_code == 400
    assert error_of(again)["code"] == "name_taken"
    for bad in ({"name": ""}, {"name": " "}, {"name": "x" * 129}, {}, {"name": 5}):
        assert gateway.admin.post("/v1/tenants", json=bad).status_code == 400
    assert made["id"] in {t["id"] for t in gateway.admin.get("/v1/tenants").json()["data"]}

    keys = f"/v1/tenants/{made['id']}/keys"
    second = gateway.admin.post(keys, json={"name": "laptop"}).json()
    listed = gateway.admin.get(keys)
    assert [key["name"] for key in listed.json()["data"]] == ["default", "laptop"]
    assert made["key"] not in listed.text
    assert second["key"] not in listed.text
    assert gateway.anonymous(second["key"]).get("/v1/models").status_code == 200

    assert gateway.admin.delete(f"{keys}/{second['id']}").json()["revoked_at"] is not None
    assert gateway.anonymous(second["key"]).get("/v1/models").status_code == 401
    assert gateway.anonymous(made["key"]).get("/v1/models").status_code == 200
    other = gateway.tenant()
    assert gateway.admin.delete(f"/v1/tenants/{other.id}/keys/{made['key_id']}").status_code == 404
    assert gateway.admin.get("/v1/tenants/org-nobody/keys").status_code == 404
    assert gateway.admin.post("/v1/tenants/org-nobody/keys", json={}).status_code == 404


def test_a_key_that_another_process_revoked_stops_soon(gateway: Gateway, tenant: Tenant) -> None:
    assert tenant.http.get("/v1/models").status_code == 200
    with gateway.database.transaction() as session:
        (key,) = tenants.list_keys(session, tenant.id).items
        tenants.revoke_key(session, tenant.id, key.id)
    wait_for(lambda: tenant.http.get("/v1/models").status_code == 401)


def test_a_new_administrators_key_replaces_the_old_one(sqlite_gateway: Gateway) -> None:
    other = "sk-ts-another-administrator"
    with sqlite_gateway.database.transaction() as session:
        tenants.ensure_admin_key(session, other)
    try:
        assert sqlite_gateway.anonymous(other).get("/v1/tenants").status_code == 200
    finally:
        with sqlite_gateway.database.transaction() as session:
            tenants.ensure_admin_key(session, ADMIN_KEY)
