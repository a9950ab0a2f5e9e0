"""Claims: fair between tenants, first come first served within one, a job never claimed twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from tests.platform.conftest import World

from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.ids import job_id
from tunesmith.platform.domain.job import CLAIMABLE, JobStatus
from tunesmith.platform.jobs import queue
from tunesmith.platform.jobs.creation import create_job

SECONDS = 3600.0


def claim(world: World, **options: Any) -> queue.Lease | None:
    options.setdefault("status", JobStatus.QUEUED)
    with world.database.transaction() as session:
        return queue.claim(session, "dispatcher", SECONDS, **options)


def claim_one(world: World, **options: Any) -> queue.Lease:
    lease = claim(world, **options)
    assert lease is not None
    return lease


def many_jobs(world: World, tenant: str, count: int, status: JobStatus) -> list[str]:
    """Ids of jobs as `create_job` makes them, but written at once."""
    with world.database.transaction() as session:
        trial = session.begin_nested()
        sample = create_job(session, tenant, world.request(tenant))
        values = {c.key: getattr(sample, c.key) for c in Job.__table__.columns if c.key != "seq"}
        trial.rollback()
        rows = [{**values, "id": job_id(), "status": status} for _ in range(count)]
        session.execute(insert(Job), rows)
    return [row["id"] for row in rows]


def test_what_a_lost_dispatcher_held_is_free_at_once_for_its_successor(world: World) -> None:
    tenant = world.tenant()
    job = world.prepared_job(tenant)
    lost = claim_one(world)
    assert claim(world) is None
    with world.database.transaction() as session:
        queue.expire_leases(session)
    again = claim_one(world)
    assert again.job_id == job
    with world.database.transaction() as session:
        assert queue.renew(session, [lost, again], SECONDS) == {job}
        assert queue.renew(session, [lost], SECONDS) == set()


def test_a_crowd_of_one_tenant_does_not_delay_another(world: World) -> None:
    crowd, late = world.tenant(), world.tenant()
    crowded = many_jobs(world, crowd, 1000, JobStatus.QUEUED)
    assert claim_one(world).job_id == crowded[0]
    jobs = [world.prepared_job(late) for _ in range(2)]
    assert claim_one(world).job_id == jobs[0]
    # One each now: the turn is the crowd's, which was served longer ago.
    assert claim_one(world).job_id == crowded[1]
    assert claim_one(world).job_id == jobs[1]
    assert [claim_one(world).job_id for _ in range(3)] == crowded[2:5]


def test_a_job_that_ends_gives_its_tenant_a_turn(world: World) -> None:
    one, two = world.tenant(), world.tenant()
    ones = [world.prepared_job(one) for _ in range(3)]
    twos = [world.prepared_job(two) for _ in range(2)]
    first, second = claim_one(world), claim_one(world)
    assert [first.job_id, second.job_id] == [ones[0], twos[0]]
    with world.database.transaction() as session:
        queue.begin(session, second, "Started")
        world.complete(session, second)
    assert claim_one(world).job_id == twos[1]
    assert claim_one(world).job_id == ones[1]


def test_only_what_waits_is_claimed(world: World) -> None:
    tenant = world.tenant()
    jobs = {status: world.job_in(tenant, status) for status in JobStatus}
    for status in CLAIMABLE:
        assert claim_one(world, status=status).job_id == jobs[status]
        assert claim(world, status=status) is None
    for status in set(JobStatus) - CLAIMABLE:
        with pytest.raises(ValueError, match="not waiting"):
            claim(world, status=status)


def test_a_dispatcher_may_keep_to_some_bases(world: World) -> None:
    job = world.prepared_job(world.tenant())
    assert claim(world, bases=[]) is None
    assert claim(world, bases=["another"]) is None
    assert claim_one(world, bases=["another", "pocket"]).job_id == job


def test_a_claim_leaves_status_and_attempts_and_names_the_owner(world: World) -> None:
    world.prepared_job(world.tenant())
    lease = claim_one(world)
    with world.database.reading() as session:
        job = session.scalars(select(Job).where(Job.id == lease.job_id)).one()
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert (job.lease_owner, job.lease_token) == ("dispatcher", lease.token)
    assert job.lease_expires_at == lease.expires_at


def test_threads_never_get_the_same_job(postgres_world: World) -> None:
    world = postgres_world
    tenants = [world.tenant() for _ in range(3)]
    jobs = {j for t in tenants for j in many_jobs(world, t, 40, JobStatus.QUEUED)}

    def work(_: int) -> list[str]:
        claimed: list[str] = []
        while True:
            lease = claim(world)
            if lease is not None:
                claimed.append(lease.job_id)
                continue
            with world.database.reading() as session:
                waiting = select(func.count()).where(Job.lease_token.is_(None))
                if session.scalar(waiting) == 0:
                    return claimed

    with ThreadPoolExecutor(8) as pool:
        claimed = [job for jobs in pool.map(work, range(8)) for job in jobs]
    assert len(claimed) == len(jobs)
    assert set(claimed) == jobs


def test_a_claim_passes_over_what_another_is_just_claiming(postgres_world: World) -> None:
    world = postgres_world
    tenant, other = world.tenant(), world.tenant()
    first, second = world.prepared_job(tenant), world.prepared_job(tenant)
    third = world.prepared_job(other)
    with world.database.transaction() as session:
        # Not committed yet: the row is locked, and its lease is not to be seen.
        session.execute(select(Job.id).where(Job.id.in_([first])).with_for_update())
        assert claim_one(world).job_id == second
        session.execute(select(Job.id).where(Job.id.in_([third])).with_for_update())
        assert claim(world) is None


CLAIM = """
import json, sys
from tunesmith.platform.database import Database
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import queue
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
claimed = []
while True:
    with database.transaction() as session:
        lease = queue.claim(session, "one", 3600.0, status=JobStatus.QUEUED)
    if lease is None:
        break
    claimed.append(lease.job_id)
print(json.dumps(claimed))
"""


def test_processes_never_get_the_same_job(sqlite_world: World) -> None:
    world = sqlite_world
    jobs = set(many_jobs(world, world.tenant(), 150, JobStatus.QUEUED))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, world.database.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    claimed = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(job for part in claimed for job in part) == sorted(jobs)


def fill(world: World) -> str:
    """10,000 jobs that wait, 3,000 that have ended, and one job of another tenant, its id."""
    crowd, late = world.tenant(), world.tenant()
    many_jobs(world, crowd, 3_000, JobStatus.SUCCEEDED)
    many_jobs(world, crowd, 10_000, JobStatus.QUEUED)
    for _ in range(5):
        claim_one(world)
    return world.prepared_job(late)


@pytest.fixture
def new_postgres_world(postgres_database: str) -> Iterator[World]:
    """A world in a database of its own, which the server has never looked at.

    Of the shared one autovacuum may have noted that it is empty, between two tests: plans then
    suit an empty table until it looks again, a minute later.
    """
    database = Database(postgres_database)
    migrate(database)
    world = World(database)
    world.register_base()
    yield world
    database.dispose()


def test_a_claim_among_10000_jobs_reads_few_rows_on_postgres(new_postgres_world: World) -> None:
    expected = fill(new_postgres_world)
    read = text(
        "SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
        " WHERE relname = 'jobs'"
    )
    for analyzed in (False, True):  # good plans before and after the server knows the table
        with new_postgres_world.database.transaction() as session:
            if analyzed:
                session.execute(text("ANALYZE jobs"))
            before = session.scalar(read) or 0
            lease = queue.claim(session, "dispatcher", SECONDS, status=JobStatus.QUEUED)
            after = session.scalar(read) or 0
            session.rollback()
        assert lease is not None
        assert lease.job_id == expected
        assert 0 < after - before < 500


def test_a_claim_among_10000_jobs_takes_few_steps_on_sqlite(sqlite_world: World) -> None:
    expected = fill(sqlite_world)
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return 0

    with sqlite_world.database.transaction() as session:
        raw: Any = session.connection().connection.driver_connection
        raw.set_progress_handler(count, 100)  # after every 100 steps of SQLite's virtual machine
        lease = queue.claim(session, "dispatcher", SECONDS, status=JobStatus.QUEUED)
        raw.set_progress_handler(None, 0)
    assert lease is not None
    assert lease.job_id == expected
    assert calls < 50  # a scan of 10,000 rows takes over 50,000 steps: 500 calls
