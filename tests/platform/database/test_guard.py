"""The database itself refuses a move that the domain does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.job import TRANSITIONS, JobStatus

if TYPE_CHECKING:
    from tests.platform.conftest import World

MOVE = text("UPDATE jobs SET status = :to WHERE id = :job")


@pytest.mark.parametrize("status", list(JobStatus))
def test_raw_sql_moves_a_job_only_where_the_domain_allows_it(
    world: World, status: JobStatus
) -> None:
    job_id = world.job_in(world.tenant(), status)
    for to in [*JobStatus, "training"]:
        allowed = to == status or to in TRANSITIONS[status]
        with world.database.engine.connect() as connection:
            if allowed:
                assert connection.execute(MOVE, {"to": to, "job": job_id}).rowcount == 1
            else:
                with pytest.raises(DBAPIError, match="illegal move of a job") as refused:
                    connection.execute(MOVE, {"to": to, "job": job_id})
                assert isinstance(refused.value, IntegrityError)
            connection.rollback()
    with world.database.reading() as session:
        assert session.scalars(select(Job.status).where(Job.id == job_id)).one() == status


def test_a_refused_move_undoes_the_whole_transaction(world: World) -> None:
    tenant = world.tenant()
    first, second = world.job(tenant), world.job_in(tenant, JobStatus.SUCCEEDED)

    def move_both() -> None:
        with world.database.transaction() as session:
            session.execute(MOVE, {"to": JobStatus.QUEUED, "job": first})
            session.execute(MOVE, {"to": JobStatus.RUNNING, "job": second})

    with pytest.raises(IntegrityError):
        move_both()
    with world.database.reading() as session:
        status = session.scalars(select(Job.status).where(Job.id == first)).one()
    assert status == JobStatus.VALIDATING_FILES
