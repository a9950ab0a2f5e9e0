"""Quotas on both databases: what is one too many is refused, whoever asks at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update
from tests.platform.conftest import World

from tunesmith.platform import files, models, quotas
from tunesmith.platform.database.models import Tenant
from tunesmith.platform.domain.errors import LimitReached
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.files import StoredFile
from tunesmith.platform.jobs import control, queue
from tunesmith.platform.jobs.creation import create_job
from tunesmith.platform.limits.schema import Limits
from tunesmith.platform.quotas import Used, used_by


def limits(**values: int) -> Limits:
    return Limits.model_validate(values)


def give(world: World, tenant_id: str, **own: int) -> None:
    kept: Any = own or None
    with world.database.transaction() as session:
        session.execute(update(Tenant).where(Tenant.id == tenant_id).values(limits=kept))


def create(world: World, tenant_id: str, defaults: Limits) -> str:
    with world.database.transaction() as session:
        return create_job(session, tenant_id, world.request(tenant_id), limits=defaults).id


def claim(world: World, defaults: Limits) -> queue.Lease | None:
    with world.database.transaction() as session:
        return queue.claim(session, "d", 60.0, status=JobStatus.QUEUED, limits=defaults)


def used(world: World, tenant_id: str) -> Used:
    with world.database.reading() as session:
        return used_by(session, tenant_id)


def test_one_job_too_many_is_refused_until_one_has_started(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    two = limits(queued_jobs=2)
    create(world, tenant, two)
    world.prepared_job(tenant)
    with pytest.raises(LimitReached) as refused:
        create(world, tenant, two)
    assert refused.value.code == "job_limit_exceeded"
    assert "queued_jobs" in refused.value.message
    create(world, other, two)
    world_lease = world.lease(create(world, other, two))
    assert used(world, tenant).queued_jobs == 2
    with world.database.transaction() as session:
        control.cancel(session, other, world_lease.job_id)
    create(world, other, two)


def test_a_tenants_own_limit_counts_before_the_default(world: World) -> None:
    tenant = world.tenant()
    give(world, tenant, queued_jobs=1)
    create(world, tenant, limits(queued_jobs=5))
    with pytest.raises(LimitReached):
        create(world, tenant, limits(queued_jobs=5))
    give(world, tenant)
    create(world, tenant, limits(queued_jobs=5))
    create(world, tenant, quotas.NO_LIMITS)


def test_a_retry_finds_its_job_though_the_limit_is_reached(world: World) -> None:
    tenant = world.tenant()
    first = create(world, tenant, limits(queued_jobs=1))
    with world.database.transaction() as session:
        again = create_job(
            session, tenant, world.request(tenant), is_retry=True, limits=limits(queued_jobs=1)
        )
    assert again.id == first


def test_of_creates_at_once_as_many_pass_as_fit(world: World) -> None:
    tenant = world.tenant()

    def one(_: int) -> bool:
        try:
            create(world, tenant, limits(queued_jobs=3))
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(12))) == 3


def test_models_and_jobs_that_make_them_count_as_adapters(world: World) -> None:
    tenant = world.tenant()
    name = world.model(tenant)
    world.running_job(tenant)
    failed = world.job_in(tenant, JobStatus.FAILED)
    assert failed
    assert used(world, tenant).adapters == 2
    with pytest.raises(LimitReached) as refused:
        create(world, tenant, limits(adapters=2))
    assert "adapters" in refused.value.message
    with world.database.transaction() as session:
        models.delete_model(session, tenant, name)
    create(world, tenant, limits(adapters=2))


def test_a_claim_passes_over_a_tenant_that_trains_enough(world: World) -> None:
    greedy, other = world.tenant(), world.tenant()
    for _ in range(3):
        world.prepared_job(greedy)
    world.prepared_job(other)
    one = limits(running_jobs=1)
    claims = [claim(world, one) for _ in range(3)]
    assert [lease is not None for lease in claims] == [True, True, False]
    first = next(lease for lease in claims if lease is not None)
    assert used(world, greedy).running_jobs == 1
    with world.database.transaction() as session:
        queue.release(session, first)
    assert claim(world, one) is not None
    give(world, greedy, running_jobs=3)
    assert claim(world, one) is not None


def test_reading_files_is_not_training(world: World) -> None:
    tenant = world.tenant()
    for _ in range(2):
        world.job(tenant)
    world.running_job(tenant)
    with world.database.transaction() as session:
        lease = queue.claim(
            session,
            "d",
            60.0,
            status=JobStatus.VALIDATING_FILES,
            limits=limits(running_jobs=1),
        )
    assert lease is not None
    world.prepared_job(tenant)
    assert claim(world, limits(running_jobs=1)) is None


def test_of_dispatchers_at_once_as_many_jobs_are_taken_as_may_run(world: World) -> None:
    tenant = world.tenant()
    for _ in range(6):
        world.prepared_job(tenant)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: claim(world, limits(running_jobs=2)), range(12)))
    assert used(world, tenant).running_jobs <= 2
    while claim(world, limits(running_jobs=2)) is not None:
        pass
    assert used(world, tenant).running_jobs == 2


def add(world: World, tenant_id: str, size: int, most: int) -> str:
    with world.database.transaction() as session:
        file = files.add_file(
            session, tenant_id, StoredFile("key", size, "a" * 64), filename="f", purpose="batch"
        )
        quotas.check_stored(session, tenant_id, limits(stored_bytes=most))
        return file.id


def test_bytes_are_those_of_live_files_and_of_each_adapter_once(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    before = used(world, tenant).stored_bytes
    file = add(world, tenant, 1000, 10**9)
    digest = "d" * 64
    world.model(tenant, digest)
    world.model(tenant, digest)
    world.model(other, "e" * 64)
    assert used(world, tenant).stored_bytes == before + 1000 + 10_000
    with world.database.transaction() as session:
        files.delete_file(session, tenant, file)
    world.file(tenant, expires_after=-1.0)
    assert used(world, tenant).stored_bytes == before + 10_000


def test_of_uploads_at_once_as_many_are_kept_as_fit(world: World) -> None:
    tenant = world.tenant()
    before = used(world, tenant).stored_bytes

    def one(_: int) -> bool:
        try:
            add(world, tenant, 400, before + 1000)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 2
    assert used(world, tenant).stored_bytes == before + 800
