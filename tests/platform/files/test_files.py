"""Files: a tenant's own alone, and bytes kept as long as one file of the tenant needs them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from tunesmith.platform.data_reports import report_key
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.files import delete_file, examples_key, get_file, list_files, original_key

if TYPE_CHECKING:
    from tests.platform.conftest import World

DIGEST = "d" * 64


def delete(world: World, tenant: str, file: str) -> list[str]:
    with world.database.transaction() as session:
        return delete_file(session, tenant, file)


def test_bytes_go_with_the_last_file_that_has_them(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    first, second = world.file(tenant, sha256=DIGEST), world.file(tenant, sha256=DIGEST)
    world.file(other, sha256=DIGEST)  # another tenant's object, whatever its content
    assert delete(world, tenant, first) == [report_key(tenant, first)]
    assert delete(world, tenant, second) == [
        original_key(tenant, DIGEST),
        examples_key(tenant, DIGEST),
        report_key(tenant, second),
    ]
    assert original_key(tenant, DIGEST) != original_key(other, DIGEST)


def test_of_deletions_at_once_exactly_one_is_the_last(world: World) -> None:
    tenant = world.tenant()
    files = [world.file(tenant, sha256=DIGEST) for _ in range(4)]
    start = threading.Barrier(8)

    def work(file: str) -> list[str] | None:
        start.wait()
        try:
            return delete(world, tenant, file)
        except NotFound:
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, files * 2))
    assert results.count(None) == 4  # each file is deleted once
    # Three leave the bytes to the others: only their own reports go.
    assert sorted(len(keys) for keys in results if keys is not None) == [1, 1, 1, 3]


def test_another_tenants_deleted_or_expired_file_does_not_exist(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    mine, expired = world.training_files[tenant], world.file(tenant, expires_after=-1.0)
    deleted = world.file(tenant)
    delete(world, tenant, deleted)
    for owner, file in [(other, mine), (tenant, expired), (tenant, deleted), (tenant, "file-x")]:
        with pytest.raises(NotFound), world.database.reading() as session:
            get_file(session, owner, file)
        with pytest.raises(NotFound):
            delete(world, owner, file)
    with world.database.reading() as session:
        assert [f.id for f in list_files(session, tenant).items] == [mine]
        with pytest.raises(NotFound):
            list_files(session, other, after=mine)


def test_a_list_can_keep_to_a_purpose(world: World) -> None:
    tenant = world.tenant()
    result = world.file(tenant, purpose="fine-tune-results")
    with world.database.reading() as session:
        found = list_files(session, tenant, purpose="fine-tune-results")
    assert [f.id for f in found.items] == [result]


def test_what_jobs_held_out_of_a_file_goes_with_it(world: World) -> None:
    tenant = world.tenant()
    job_id = world.job(tenant)
    with world.database.transaction() as session:
        job = session.scalars(select(Job).where(Job.id == job_id)).one()
        job.held_out_key = f"jobs/{job_id}/held-out.jsonl"
    file = world.training_files[tenant]
    assert f"jobs/{job_id}/held-out.jsonl" in delete(world, tenant, file)
