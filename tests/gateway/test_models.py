"""/v1/models with the official client, on both databases."""

from __future__ import annotations

import openai
import pytest
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of

from tunesmith.platform import bases


def test_own_models_and_bases_are_listed_and_found(gateway: Gateway, tenant: Tenant) -> None:
    name, _ = gateway.train(tenant, checkpoints=[3])
    listed = {model.id: model for model in tenant.client.models.list()}
    assert set(listed) == {BASE, name, f"{name}:ckpt-step-3"}
    assert listed[BASE].owned_by == "tunesmith"
    assert listed[name].owned_by == tenant.id
    assert listed[name].object == "model"
    for id_, model in listed.items():
        assert tenant.client.models.retrieve(id_) == model
    with pytest.raises(openai.NotFoundError) as missing:
        tenant.client.models.retrieve("gpt-4o")
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")


def test_a_base_whose_name_has_a_slash_is_found(gateway: Gateway, tenant: Tenant) -> None:
    with gateway.database.transaction() as session:
        bases.register_base(
            session,
            name="acme/small",
            source="/x",
            digest="c" * 64,
            context_length=10,
            max_rank=8,
            config={},
        )
    assert tenant.client.models.retrieve("acme/small").id == "acme/small"


def test_a_deleted_model_is_gone_from_names_engines_and_storage(
    gateway: Gateway, tenant: Tenant, shared_engine: FakeEngine
) -> None:
    name, digest = gateway.train(tenant, checkpoints=[3])
    shared_engine.adapters.add(digest)
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": name, "messages": messages}
    assert tenant.http.post("/v1/chat/completions", json=body).status_code == 200
    assert gateway.storage.list(f"adapters/{digest}") != []

    deleted = tenant.client.models.delete(name)
    assert (deleted.id, deleted.deleted, deleted.object) == (name, True, "model")
    assert digest in shared_engine.unloaded
    assert digest not in shared_engine.loaded
    assert gateway.storage.list(f"adapters/{digest}") == []
    answer = tenant.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 404
    assert error_of(answer)["param"] == "model"
    assert f"{name}:ckpt-step-3" in {model.id for model in tenant.client.models.list()}
    tenant.client.models.delete(f"{name}:ckpt-step-3")
    assert {model.id for model in tenant.client.models.list()} == {BASE} | {
        model.id for model in tenant.client.models.list() if "/" in model.id
    }
    with pytest.raises(openai.NotFoundError):
        tenant.client.models.delete(name)


def test_weights_stay_while_another_job_continues_from_them(
    gateway: Gateway, tenant: Tenant
) -> None:
    name, digest = gateway.train(tenant)
    tenant.client.fine_tuning.jobs.create(model=name, training_file=tenant.upload())
    tenant.client.models.delete(name)
    assert gateway.storage.list(f"adapters/{digest}") != []


def test_a_base_cannot_be_deleted(tenant: Tenant) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="cannot be deleted"):
        tenant.client.models.delete(BASE)
