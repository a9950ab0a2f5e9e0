"""Checkpoint permissions: a tenant lets another use its model, and takes it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import openai
import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, Tenant, error_of, wait_for

HI: Any = [{"role": "user", "content": "hi"}]


@dataclass
class Shared:
    """A tenant with a model, and another that wants it."""

    gateway: Gateway
    owner: Tenant
    other: Tenant
    model: str

    @property
    def path(self) -> str:
        return f"/v1/fine_tuning/checkpoints/{self.model}/permissions"

    def grant(self) -> str:
        found = self.owner.client.fine_tuning.checkpoints.permissions.create(
            self.model, project_ids=[self.other.id]
        ).data
        return found[0].id

    def revoke(self, permission_id: str) -> bool:
        return self.owner.client.fine_tuning.checkpoints.permissions.delete(
            permission_id, fine_tuned_model_checkpoint=self.model
        ).deleted

    def can_ask(self) -> bool:
        try:
            self.other.client.chat.completions.create(model=self.model, messages=HI)
        except openai.NotFoundError:
            return False
        return True


@pytest.fixture
def shared(make_gateway: MakeGateway, engine: FakeEngine) -> Shared:
    gateway = make_gateway()
    owner, other = gateway.tenant(), gateway.tenant()
    model, digest = gateway.train(owner)
    engine.adapters.add(digest)
    return Shared(gateway, owner, other, model)


def test_who_has_the_permission_may_ask_the_model_and_see_it(shared: Shared) -> None:
    assert not shared.can_ask()
    shared.grant()
    assert shared.can_ask()
    models = shared.other.client.models
    assert models.retrieve(shared.model).owned_by == shared.owner.id
    assert shared.model in [model.id for model in models.list()]
    stranger = shared.gateway.tenant()
    assert shared.model not in [model.id for model in stranger.client.models.list()]
    with pytest.raises(openai.NotFoundError):
        stranger.client.models.retrieve(shared.model)


def test_who_has_the_permission_may_do_nothing_else(shared: Shared) -> None:
    shared.grant()
    job_id = shared.owner.client.fine_tuning.jobs.list().data[0].id
    other = shared.other
    deleted = other.http.delete(f"/v1/models/{shared.model}")
    assert (deleted.status_code, error_of(deleted)["code"]) == (403, "insufficient_permissions")
    tuned = other.http.post(
        "/v1/fine_tuning/jobs",
        json={"model": shared.model, "training_file": other.upload()},
    )
    assert tuned.status_code in (400, 404)
    assert error_of(tuned)["code"] == "model_not_found"
    aliased = other.http.post("/v1/aliases", json={"name": "mine", "model": shared.model})
    assert (aliased.status_code, error_of(aliased)["code"]) == (404, "model_not_found")
    for path in ("", "/events", "/checkpoints"):
        assert other.http.get(f"/v1/fine_tuning/jobs/{job_id}{path}").status_code == 404
    assert other.http.get(shared.path).status_code == 404
    assert other.http.post(shared.path, json={"project_ids": [other.id]}).status_code == 404
    assert shared.can_ask()
    assert shared.owner.client.models.delete(shared.model).deleted


def test_what_is_revoked_stops_at_once(shared: Shared) -> None:
    permission = shared.grant()
    assert shared.can_ask()
    assert shared.revoke(permission)
    assert not shared.can_ask()
    with pytest.raises(openai.NotFoundError):
        shared.other.client.models.retrieve(shared.model)
    with pytest.raises(openai.NotFoundError):
        shared.revoke(permission)
    shared.grant()
    assert shared.can_ask()


def test_a_deleted_model_is_gone_for_all(shared: Shared) -> None:
    shared.grant()
    assert shared.can_ask()
    shared.owner.client.models.delete(shared.model)
    wait_for(lambda: not shared.can_ask(), seconds=5.0)


def test_a_grant_is_one_however_often_it_is_made(shared: Shared) -> None:
    assert shared.grant() == shared.grant()
    listed = shared.owner.client.fine_tuning.checkpoints.permissions.list(shared.model)
    assert [permission.project_id for permission in listed] == [shared.other.id]


def test_permissions_are_listed_in_pages_and_both_orders(shared: Shared) -> None:
    grantees = [shared.gateway.tenant().id for _ in range(3)]
    api = shared.owner.client.fine_tuning.checkpoints.permissions
    api.create(shared.model, project_ids=grantees)
    newest_first = [p.project_id for p in api.list(shared.model, limit=2)]
    assert newest_first == grantees[::-1]
    assert [p.project_id for p in api.list(shared.model, order="ascending")] == grantees
    assert [p.project_id for p in api.list(shared.model, project_id=grantees[1])] == [grantees[1]]
    page = shared.owner.http.get(shared.path, params={"limit": 2}).json()
    assert page["has_more"]
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][1]["id"])


def test_an_unknown_project_is_answered_as_a_name_is(shared: Shared) -> None:
    """Names and slugs can be guessed, ids cannot: only an id says that its tenant exists."""
    tenant = shared.gateway.admin.get("/v1/tenants").json()["data"][0]
    said = set()
    for guess in (tenant["name"], tenant["slug"], "org-doesnotexist", "acme"):
        answer = shared.owner.http.post(shared.path, json={"project_ids": [shared.other.id, guess]})
        assert answer.status_code == 404
        error = error_of(answer)
        assert error["param"] == "project_ids.1"
        said.add(error["message"].replace(repr(guess), "ID"))
    assert len(said) == 1
    assert not shared.can_ask()  # all or none


@pytest.mark.parametrize("body", [{}, {"project_ids": []}, {"project_ids": "org-1"}])
def test_bad_input_is_refused(shared: Shared, body: dict[str, Any]) -> None:
    answer = shared.owner.http.post(shared.path, json=body)
    assert (answer.status_code, error_of(answer)["param"]) == (400, "project_ids")


def test_the_owner_needs_no_permission(shared: Shared) -> None:
    answer = shared.owner.http.post(shared.path, json={"project_ids": [shared.owner.id]})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "project_ids.0")


def test_a_shared_model_is_seen_on_both_databases(tenant: Tenant, gateway: Gateway) -> None:
    owner = gateway.tenant()
    model, _ = gateway.train(owner)
    path = f"/v1/fine_tuning/checkpoints/{model}/permissions"
    granted = owner.http.post(path, json={"project_ids": [tenant.id]}).json()["data"][0]
    assert model in [found.id for found in tenant.client.models.list()]
    assert tenant.client.models.retrieve(model).owned_by == owner.id
    assert owner.http.delete(f"{path}/{granted['id']}").json()["deleted"]
    assert model not in [found.id for found in tenant.client.models.list()]


def test_another_tenants_permission_is_unknown(tenant: Tenant, gateway: Gateway) -> None:
    owner = gateway.tenant()
    model, _ = gateway.train(owner)
    path = f"/v1/fine_tuning/checkpoints/{model}/permissions"
    granted = owner.http.post(path, json={"project_ids": [tenant.id]}).json()["data"][0]
    unknown = path.replace(model, "ft:pocket:org::nothing")
    for method, end in (("GET", ""), ("POST", ""), ("DELETE", f"/{granted['id']}")):
        body: Any = {"project_ids": [tenant.id]} if method == "POST" else None
        found, missing = (
            error_of(tenant.http.request(method, base + end, json=body)) for base in (path, unknown)
        )
        assert found["message"].replace(model, "ft:pocket:org::nothing") == missing["message"]
        assert found["code"] == missing["code"] == "model_not_found"
