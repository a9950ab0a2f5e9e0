"""Which jobs wait is found cheaply, and each is told once what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from tunesmith.platform.database.models import Job, JobEvent
from tunesmith.platform.domain.job import JobStatus
from tunesmith.workers.dispatcher import waiting as module
from tunesmith.workers.dispatcher.waiting import Lookout, Pace, Place, tell

if TYPE_CHECKING:
    import pytest
    from tests.workers.dispatcher.conftest import Desk


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.001, 3)), max_size=40))
def test_what_is_paced_gets_a_twentieth_of_the_time(turns: list[tuple[float, float]]) -> None:
    now, busy = 0.0, 0.0
    pace = Pace(clock=lambda: now)
    for idle, seconds in turns:
        now += idle
        if pace.due:
            now += seconds
            busy += seconds
            last = seconds
            pace.took(seconds)
    if busy:
        assert busy - last <= now / 20


def test_waiting_jobs_are_seen_with_their_bases(desk: Desk) -> None:
    lookout = Lookout()

    def look() -> module.Waiting:
        with desk.database.reading() as session:
            return lookout.look(session)

    assert look() == module.Waiting()
    job = desk.queued_job()
    seen = look()
    assert (seen.unread, seen.queued) == (False, frozenset({"pocket"}))
    assert [base.name for base in seen.bases] == ["pocket"]
    with desk.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job).values(status="running"))
    assert look() == module.Waiting()


def test_between_two_walks_the_cheap_look_still_counts(desk: Desk) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.5  # every walk seems to take that long
        return now

    lookout = Lookout(clock=clock)
    job = desk.queued_job()
    for status, queued in (("queued", {"pocket"}), ("running", set()), ("queued", {"pocket"})):
        with desk.database.transaction() as session:
            session.execute(update(Job).where(Job.id == job).values(status=status))
        with desk.database.reading() as session:
            assert lookout.look(session).queued == queued


def test_every_job_is_told_once_some_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOLD_AT_ONCE", 2)
    jobs = {desk.queued_job() for _ in range(5)}
    place: Place | None = None
    for _ in range(8):  # two rounds and more
        with desk.database.transaction() as session:
            place = tell(
                session, "Waiting.", JobStatus.QUEUED, Job.base_name == "pocket", after=place
            )
    with desk.database.reading() as session:
        query = select(JobEvent.job_id, func.count()).where(JobEvent.message == "Waiting.")
        told = {row[0]: row[1] for row in session.execute(query.group_by(JobEvent.job_id))}
    assert told == dict.fromkeys(jobs, 1)
