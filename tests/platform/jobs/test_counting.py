"""Jobs by status: the same figures as a count of all, at any time."""

from __future__ import annotations

from sqlalchemy import func, select, update
from tests.platform.conftest import World

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs.counting import SETTLED_SECONDS, JobCounts


def test_counts_are_those_of_all_jobs_while_time_goes_on(world: World) -> None:
    tenant, now = world.tenant(), 1_000_000.0
    counting = JobCounts(clock=lambda: now)
    ended = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
    for status in (*ended, *ended[:2], JobStatus.QUEUED, JobStatus.PAUSED, JobStatus.SUCCEEDED):
        job = world.job_in(tenant, status)
        with world.database.transaction() as session:
            if status in ended:
                session.execute(update(Job).where(Job.id == job).values(finished_at=now))
        for _ in range(2):
            with world.database.reading() as session:
                query = select(Job.status, func.count()).group_by(Job.status)
                all_of_them = dict(session.execute(query).tuples().all())
                assert +counting.count(session) == all_of_them
            now += SETTLED_SECONDS / 2 + 1
