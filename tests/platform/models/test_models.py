"""Models: names of a tenant's own, and adapters kept as long as anything needs them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from tunesmith.platform import bases, models
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.domain.training import StoredAdapter
from tunesmith.platform.jobs import control, progress, reading
from tunesmith.platform.jobs.creation import create_job

if TYPE_CHECKING:
    from tests.platform.conftest import World


def delete(world: World, tenant: str, name: str) -> list[str]:
    with world.database.transaction() as session:
        return models.delete_model(session, tenant, name)


def test_a_model_is_its_tenants_own(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    names = [world.model(tenant), world.model(tenant)]
    with pytest.raises(NotFound) as caught:
        delete(world, other, names[0])
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")
    with world.database.reading() as session:
        assert [m.name for m in models.list_models(session, tenant)] == names
        assert models.list_models(session, other) == []
        with pytest.raises(NotFound):
            models.get_model(session, other, names[0])


def test_a_deleted_model_is_gone_and_its_name_free(world: World) -> None:
    tenant = world.tenant()
    name = world.model(tenant, digest="a" * 64)
    with world.database.reading() as session:
        job_id = models.get_model(session, tenant, name).job_id
    again = {
        "name": name,
        "tenant_id": tenant,
        "base_name": "pocket",
        "adapter_digest": "a" * 64,
        "job_id": job_id,
    }
    with pytest.raises(IntegrityError), world.database.transaction() as session:
        models.add_model(session, **again)
    assert delete(world, tenant, name) == ["a" * 64]
    with pytest.raises(NotFound):
        delete(world, tenant, name)
    with world.database.transaction() as session:
        models.add_model(session, **again)
    assert delete(world, tenant, name) == ["a" * 64]


def test_an_adapter_stays_while_a_job_goes_on_from_it(world: World) -> None:
    tenant = world.tenant()
    name = world.model(tenant, digest="a" * 64)
    with world.database.transaction() as session:
        job = create_job(session, tenant, replace(world.request(tenant), model=name)).id
    assert delete(world, tenant, name) == []
    with world.database.transaction() as session:
        assert models.is_referred(session, "a" * 64)
        control.cancel(session, tenant, job)
        assert not models.is_referred(session, "a" * 64)


def test_a_checkpoints_model_takes_its_checkpoint_with_it(world: World) -> None:
    tenant = world.tenant()
    lease = world.running_job(tenant)
    with world.database.transaction() as session:
        progress.record_checkpoint(
            session,
            lease,
            StoredAdapter("a" * 64, 16, 100),
            model_name="ft:m",
            step=3,
            metrics={},
        )
    # The job may end with this very adapter, so its files wait for that.
    assert delete(world, tenant, "ft:m:ckpt-step-3") == []
    with world.database.reading() as session:
        assert reading.list_checkpoints(session, tenant, lease.job_id).items == []


def test_a_base_is_written_down_once_and_brought_up_to_date(world: World) -> None:
    world.register_base()
    world.register_base(digest="c" * 64, max_rank=8)
    with world.database.reading() as session:
        found = [(b.name, b.digest, b.max_rank) for b in bases.list_bases(session)]
        assert found == [("pocket", "c" * 64, 8)]
        assert bases.find_base(session, "none") is None


def test_a_base_cannot_be_named_like_a_tuned_model(world: World) -> None:
    with pytest.raises(InvalidRequest), world.database.transaction() as session:
        bases.register_base(
            session,
            name="ft:pocket:org::abc",
            source="/x",
            digest="b" * 64,
            context_length=1,
            max_rank=1,
            config={},
        )
