"""Steps' events of jobs that ended long ago go, and nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import update

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import StepMetrics
from tunesmith.platform.jobs import control, forgetting, progress, reading

if TYPE_CHECKING:
    import pytest
    from tests.platform.conftest import World


def trained(world: World, tenant: str, steps: int, *, ended_days_ago: float | None) -> str:
    """Id of a job that reported steps, and was cancelled where it has ended."""
    lease = world.running_job(tenant)
    metrics = [StepMetrics(step, steps, 1.0, 0.5) for step in range(1, steps + 1)]
    with world.database.transaction() as session:
        progress.record_metrics(session, lease, metrics, estimated_finish=None)
        if ended_days_ago is not None:
            control.cancel(session, tenant, lease.job_id)
    if ended_days_ago is not None:
        ended = time.time() - ended_days_ago * forgetting.DAY
        with world.database.transaction() as session:
            session.execute(
                update(Job)
                .where(Job.id == lease.job_id)
                .values(status=JobStatus.CANCELLED, finished_at=ended)
            )
    return lease.job_id


def events(world: World, tenant: str, job_id: str) -> tuple[int, int]:
    """How many events of steps a job has, and how many others."""
    with world.database.reading() as session:
        types = [e.type for e in reading.list_events(session, tenant, job_id, limit=100).items]
    return types.count("metrics"), len(types) - types.count("metrics")


def forget(world: World, days: float, back: float | None = None) -> tuple[int, bool]:
    with world.database.transaction() as session:
        return forgetting.forget_steps(session, days=days, looked_back_days=back)


def test_only_steps_of_jobs_that_ended_long_ago_are_forgotten(world: World) -> None:
    tenant = world.tenant()
    old = trained(world, tenant, 5, ended_days_ago=31)
    young = trained(world, tenant, 4, ended_days_ago=29)
    running = trained(world, tenant, 3, ended_days_ago=None)
    _, others = events(world, tenant, old)
    assert others >= 1
    assert forget(world, 30) == (5, False)
    assert events(world, tenant, old) == (0, others)
    assert events(world, tenant, young)[0] == 4
    assert events(world, tenant, running)[0] == 3
    assert forget(world, 30) == (0, False)


def test_it_goes_on_in_pieces_and_may_look_at_late_ends_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "JOBS_AT_ONCE", 2)
    tenant = world.tenant()
    old = [trained(world, tenant, 2, ended_days_ago=10) for _ in range(3)]
    older = trained(world, tenant, 2, ended_days_ago=20)
    assert forget(world, 5, back=7) == (4, True)
    assert forget(world, 5, back=7) == (2, False)
    assert [events(world, tenant, job)[0] for job in (*old, older)] == [0, 0, 0, 2]
    assert forget(world, 5) == (2, False)
