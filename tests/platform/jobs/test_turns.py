"""Flags of tenants that wait: there with every job that waits, taken back where none does."""

from __future__ import annotations

import threading

from sqlalchemy import select, update
from tests.platform.conftest import World

from tunesmith.platform.database.models import Job, Tenant
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import control, queue
from tunesmith.platform.jobs.creation import create_job

SECONDS = 3600.0


def flags(world: World, tenant: str) -> tuple[bool, bool]:
    with world.database.reading() as session:
        row = session.scalars(select(Tenant).where(Tenant.id == tenant)).one()
        return row.has_unread, row.has_queued


def claim(world: World, status: JobStatus = JobStatus.QUEUED) -> str | None:
    with world.database.transaction() as session:
        lease = queue.claim(session, "dispatcher", SECONDS, status=status)
        return None if lease is None else lease.job_id


def test_a_flag_comes_with_every_way_to_wait(world: World) -> None:
    new, prepared, resumed, lost = (world.tenant() for _ in range(4))
    world.job(new)
    assert flags(world, new) == (True, False)
    world.prepared_job(prepared)
    assert flags(world, prepared)[1]
    for tenant in (resumed, lost):
        assert flags(world, tenant) == (False, False)
    job = world.job_in(resumed, JobStatus.PAUSED)
    with world.database.transaction() as session:
        session.execute(update(Tenant).values(has_queued=False, has_unread=False))
    with world.database.transaction() as session:
        control.resume(session, resumed, job)
    assert True in flags(world, resumed)
    lease = world.running_job(lost)
    with world.database.transaction() as session:
        session.execute(update(Tenant).values(has_queued=False, has_unread=False))
    with world.database.transaction() as session:
        queue.requeue(session, lease, "Lost", max_attempts=5)
    assert flags(world, lost) == (False, True)


def test_claims_take_flags_back_of_who_was_served_earlier_and_waits_no_more(world: World) -> None:
    done, waits, leased = (world.tenant() for _ in range(3))
    ended = world.prepared_job(done)
    assert claim(world) == ended
    with world.database.transaction() as session:
        control.cancel(session, done, ended)
    held = world.prepared_job(leased)
    assert claim(world) == held
    assert flags(world, done)[1]
    with world.database.transaction() as session:
        session.execute(update(Tenant).where(Tenant.id == waits).values(last_claimed_at=9e9))
    job = world.prepared_job(waits)
    assert claim(world) == job
    assert not flags(world, done)[1]
    assert flags(world, leased)[1]  # its lease may run out
    again = world.prepared_job(done)
    assert claim(world) == again


def test_a_job_that_is_just_made_keeps_its_tenants_flag(postgres_world: World) -> None:
    world = postgres_world
    one, other = world.tenant(), world.tenant()
    gone = world.prepared_job(one)
    assert claim(world) == gone
    with world.database.transaction() as session:
        control.cancel(session, one, gone)
    jobs = [world.prepared_job(other), world.prepared_job(other)]
    with world.database.transaction() as session:
        session.execute(update(Tenant).where(Tenant.id == other).values(last_claimed_at=9e9))
    request = world.request(one)
    with world.database.transaction() as session:
        job = create_job(session, one, request)
        job.status = JobStatus.QUEUED
        session.flush()
        assert claim(world) == jobs[0]  # while the job cannot be seen, and without waiting for it
        made = job.id
    assert flags(world, one)[1]
    assert claim(world) == made


def test_two_that_requeue_the_same_tenants_do_not_block_each_other(postgres_world: World) -> None:
    world = postgres_world
    tenants = [world.tenant() for _ in range(2)]
    leases = [world.running_job(tenant) for tenant in (*tenants, *reversed(tenants))]
    with world.database.transaction() as session:
        session.execute(update(Job).values(lease_expires_at=1.0))
    found: list[str] = []

    def requeue() -> None:
        with world.database.transaction() as session:
            found.extend(queue.requeue_abandoned(session, max_attempts=5))

    threads = [threading.Thread(target=requeue) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(lease.job_id for lease in leases)
