"""A create is refused at once when it cannot succeed; repeated, it makes one job."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text, update

from tunesmith.platform import files, models
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import InvalidRequest, NotFound, TunesmithError
from tunesmith.platform.jobs import reading
from tunesmith.platform.jobs.creation import JobRequest, create_job

if TYPE_CHECKING:
    from tests.platform.conftest import World

THREADS = 8


def create(world: World, tenant: str, request: JobRequest, **options: Any) -> str:
    with world.database.transaction() as session:
        return create_job(session, tenant, request, **options).id


def count(world: World) -> int:
    with world.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def at_once(world: World, tenant: str, requests: list[JobRequest], **options: Any) -> list[object]:
    """What each of these creates gets when all are made at the same moment: an id, or an error."""
    start = threading.Barrier(len(requests))

    def work(request: JobRequest) -> object:
        start.wait()
        try:
            return create(world, tenant, request, **options)
        except InvalidRequest as error:
            return error.code

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(work, requests))


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": "gpt-none"}, "model", "model_not_found"),
        ({"training_file": "file-none"}, "training_file", "file_not_found"),
        ({"validation_file": "file-none"}, "validation_file", "file_not_found"),
        ({"suffix": "a:b"}, "suffix", None),
        ({"suffix": "x" * 65}, "suffix", None),
        ({"seed": -1}, "seed", None),
        ({"seed": 2**31}, "seed", None),
        ({"method_type": "reinforcement"}, "method.type", "unsupported_method"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", None),
        ({"metadata": {"k" * 65: "v"}}, "metadata", None),
        ({"metadata": {"": "v"}}, "metadata", None),
        ({"metadata": {"k": "v" * 513}}, "metadata", None),
        ({"metadata": {"k": 1}}, "metadata", None),
        ({"hyperparameters": {"rank": 3}}, "hyperparameters.rank", None),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", None),
        ({"hyperparameters": {"n_epochs": float("nan")}}, "hyperparameters.n_epochs", None),
        ({"hyperparameters": {"batch_size": True}}, "hyperparameters.batch_size", None),
        (
            {"hyperparameters": {"learning_rate_multiplier": 0}},
            "hyperparameters.learning_rate_multiplier",
            "invalid_hyperparameter",
        ),
    ],
)
def test_what_cannot_succeed_is_refused(
    sqlite_world: World, change: Mapping[str, Any], param: str, code: str | None
) -> None:
    tenant = sqlite_world.tenant()
    with pytest.raises((InvalidRequest, NotFound)) as caught:
        create(sqlite_world, tenant, replace(sqlite_world.request(tenant), **change))
    assert caught.value.param == param
    assert code in {None, caught.value.code}
    assert count(sqlite_world) == 0


def test_files_that_cannot_be_trained_on_are_refused(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    good = world.training_files[tenant]
    deleted = world.file(tenant)
    with world.database.transaction() as session:
        files.delete_file(session, tenant, deleted)
    for file, code in [
        (world.training_files[other], "file_not_found"),
        (deleted, "file_not_found"),
        (world.file(tenant, expires_after=-1.0), "file_not_found"),
        (world.file(tenant, purpose="user_data"), "invalid_file_purpose"),
        (world.file(tenant, examples=9), "too_few_examples"),
    ]:
        with pytest.raises(TunesmithError) as caught:
            create(world, tenant, JobRequest("pocket", file))
        assert caught.value.code == code
        assert caught.value.param == "training_file"
    with pytest.raises(InvalidRequest, match="memory, not learning"):
        create(world, tenant, JobRequest("pocket", good, validation_file=good))
    create(
        world, tenant, JobRequest("pocket", good, validation_file=world.file(tenant, examples=1))
    )
    assert count(world) == 1


def test_another_tenants_model_cannot_be_continued(world: World) -> None:
    owner, other = world.tenant(), world.tenant()
    name = world.model(owner, digest="a" * 64)
    with pytest.raises(NotFound) as caught:
        create(world, other, replace(world.request(other), model=name))
    assert caught.value.param == "model"
    job = create(world, owner, replace(world.request(owner), model=name))
    with world.database.reading() as session:
        assert reading.get_job(session, owner, job).parent_digest == "a" * 64


@pytest.mark.parametrize(
    ("change", "code"),
    [({"digest": "c" * 64}, "base_changed"), ({"max_rank": 8}, "rank_too_high")],
)
def test_a_model_that_could_not_be_served_is_not_continued(
    world: World, change: dict[str, Any], code: str
) -> None:
    tenant = world.tenant()
    name = world.model(tenant)
    world.register_base(**change)
    with pytest.raises(InvalidRequest) as caught:
        create(world, tenant, replace(world.request(tenant), model=name))
    assert caught.value.code == code


def test_a_model_is_not_deleted_under_the_job_that_is_created_from_it(
    postgres_world: World,
) -> None:
    world = postgres_world
    tenant = world.tenant()
    name = world.model(tenant)
    digest = world.adapter_of(tenant, name)

    def delete() -> list[str]:
        with world.database.transaction() as session:
            return models.delete_model(session, tenant, name)

    with ThreadPoolExecutor(1) as pool:
        with world.database.transaction() as session:
            create_job(session, tenant, replace(world.request(tenant), model=name))
            deletion = pool.submit(delete)
            wait_until_one_waits(world)
        assert deletion.result() == []  # its bytes stay, for the job
    with world.database.reading() as session:
        assert models.is_referred(session, digest)


def wait_until_one_waits(world: World) -> None:
    """Return when a transaction of this database waits for another's lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while True:
        with world.database.reading() as session:
            if session.scalar(waiting):
                return


def test_the_same_key_at_once_makes_one_job(world: World) -> None:
    tenant = world.tenant()
    requests = [world.request(tenant)] * THREADS
    assert len(set(at_once(world, tenant, requests, idempotency_key="k"))) == 1
    assert count(world) == 1


def test_the_same_retry_at_once_makes_one_job(world: World) -> None:
    tenant = world.tenant()
    requests = [world.request(tenant)] * THREADS
    assert len(set(at_once(world, tenant, requests, is_retry=True))) == 1
    assert count(world) == 1


def test_the_same_key_with_other_bodies_at_once_makes_one_job(world: World) -> None:
    tenant = world.tenant()
    requests = [replace(world.request(tenant), seed=seed) for seed in range(THREADS)]
    results = at_once(world, tenant, requests, idempotency_key="k")
    assert results.count("idempotency_key_reused") == THREADS - 1
    assert count(world) == 1


def test_a_retry_that_overtakes_its_create_waits_for_it(postgres_world: World) -> None:
    world = postgres_world
    tenant = world.tenant()
    with ThreadPoolExecutor(1) as pool:
        with world.database.transaction() as session:
            first = create_job(session, tenant, world.request(tenant)).id
            retry = pool.submit(create, world, tenant, world.request(tenant), is_retry=True)
            wait_until_one_waits(world)
        assert retry.result() == first


def test_only_a_retry_or_a_key_finds_the_job_before(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    request = world.request(tenant)
    first = create(world, tenant, request, idempotency_key="k")
    assert create(world, tenant, request) != first
    assert create(world, tenant, request, idempotency_key="another") != first
    assert create(world, tenant, request, idempotency_key="k", is_retry=True) == first
    assert create(world, tenant, replace(request, suffix="x"), is_retry=True) != first
    assert create(world, other, world.request(other), idempotency_key="k") != first
    with pytest.raises(InvalidRequest) as caught:
        create(world, tenant, replace(request, seed=8), idempotency_key="k")
    assert caught.value.code == "idempotency_key_reused"


def test_a_retry_long_after_is_a_new_job(world: World) -> None:
    tenant = world.tenant()
    first = create(world, tenant, world.request(tenant))
    assert create(world, tenant, world.request(tenant), is_retry=True) == first
    with world.database.transaction() as session:
        session.execute(update(Job).values(created_at=1.0))
    assert create(world, tenant, world.request(tenant), is_retry=True) != first


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_cannot_be_kept_is_refused(sqlite_world: World, key: str) -> None:
    tenant = sqlite_world.tenant()
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        create(sqlite_world, tenant, sqlite_world.request(tenant), idempotency_key=key)
