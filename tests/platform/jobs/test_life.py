"""A job's life with several dispatchers, clients and lost workers, in any order.

A model of what must hold runs beside the real thing: statuses, leases, attempts and events are
compared after every step, and a report under a lease that is not the job's own changes no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import Adapter, Checkpoint, Job, JobEvent, Model
from tunesmith.platform.domain.errors import InvalidRequest, LeaseLost
from tunesmith.platform.domain.job import CLAIMABLE, FINAL, TRANSITIONS, JobStatus
from tunesmith.platform.domain.training import Prepared, StepMetrics, StoredAdapter
from tunesmith.platform.jobs import control, progress, queue

if TYPE_CHECKING:
    from tests.platform.conftest import World

S = JobStatus
MAX_ATTEMPTS = 3
LEASE_SECONDS = 3600.0
PREPARED = Prepared(hyperparameters={}, recipe={}, total_steps=30)

MOVES: dict[str, JobStatus] = {
    "Files validated": S.QUEUED,
    "Started": S.RUNNING,
    "The job was paused": S.PAUSED,
    "The job was cancelled": S.CANCELLED,
    "The job has successfully completed": S.SUCCEEDED,
    "It broke": S.FAILED,
    "Its files could not be read: their reader was lost; given up after": S.FAILED,
    "Worker lost; given up after": S.FAILED,
    "Its dispatcher gave no sign of life; given up after": S.FAILED,
    "Worker lost: the job goes on from": S.QUEUED,
    "Its dispatcher gave no sign of life: the job goes on from": S.QUEUED,
}
"""How each move's event begins, and where it leads; "The job was resumed" has two ends."""


@dataclass
class Expected:
    """What one job must look like."""

    tenant: str
    status: JobStatus = S.VALIDATING_FILES
    lease: queue.Lease | None = None
    lease_is_live: bool = False
    attempts: int = 0
    resume_step: int = 0
    is_prepared: bool = False
    history: list[JobStatus] = field(default_factory=lambda: [S.VALIDATING_FILES])

    def move(self, to: JobStatus) -> None:
        assert to in TRANSITIONS[self.status]
        self.status = to
        self.history.append(to)
        if to in FINAL:
            self.drop_lease()

    def drop_lease(self) -> None:
        self.lease, self.lease_is_live = None, False

    @property
    def is_waiting(self) -> bool:
        return self.status in CLAIMABLE and not self.lease_is_live


class JobLife(RuleBasedStateMachine):
    """Several tenants' jobs, pulled about by everyone who may touch them."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.empty()
        self.tenants = [self.world.tenant() for _ in range(2)]
        self.jobs: dict[str, Expected] = {}
        self.leases: list[queue.Lease] = []
        self.step = 0

    # What clients do

    @rule(data=st.data(), prepared=st.booleans())
    @precondition(lambda self: sum(j.status not in FINAL for j in self.jobs.values()) < 3)
    def create(self, data: st.DataObject, prepared: bool) -> None:
        tenant = data.draw(st.sampled_from(self.tenants))
        job = Expected(tenant, is_prepared=prepared)
        if prepared:
            self.jobs[self.world.prepared_job(tenant)] = job
            job.move(S.QUEUED)
        else:
            self.jobs[self.world.job(tenant)] = job

    @rule(data=st.data(), action=st.sampled_from(["pause", "resume", "resume", "cancel"]))
    @precondition(lambda self: self.jobs)
    def client(self, data: st.DataObject, action: str) -> None:
        job_id = data.draw(st.sampled_from(list(self.jobs)))
        job = self.jobs[job_id]
        call = {"cancel": control.cancel, "pause": control.pause, "resume": control.resume}[action]
        allowed = {
            "cancel": job.status not in FINAL,
            "pause": job.status not in FINAL | {S.PAUSED},
            "resume": job.status == S.PAUSED,
        }[action]
        if not allowed:
            self.changes_nothing(lambda s: call(s, job.tenant, job_id), InvalidRequest)
            return
        with self.world.database.transaction() as session:
            call(session, job.tenant, job_id)
        if action == "resume":
            job.attempts = 0
            job.move(S.QUEUED if job.is_prepared else S.VALIDATING_FILES)
        else:
            job.move({"cancel": S.CANCELLED, "pause": S.PAUSED}[action])

    # What dispatchers do

    @rule(owner=st.sampled_from(["one", "two", "three"]), status=st.sampled_from(sorted(CLAIMABLE)))
    @precondition(lambda self: self.jobs)
    def claim(self, owner: str, status: JobStatus) -> None:
        self.take(owner, status)

    def take(self, owner: str, status: JobStatus) -> None:
        waiting = [i for i, job in self.jobs.items() if job.is_waiting and job.status == status]
        deadly = {
            i
            for i in waiting
            if status == S.VALIDATING_FILES and self.jobs[i].attempts >= MAX_ATTEMPTS
        }
        busy = {
            tenant: sum(j.lease_is_live for j in self.jobs.values() if j.tenant == tenant)
            for tenant in self.tenants
        }
        with self.world.database.transaction() as session:
            lease = queue.claim(
                session, owner, LEASE_SECONDS, status=status, max_attempts=MAX_ATTEMPTS
            )
            failed = set(session.scalars(select(Job.id).where(Job.status == S.FAILED)))
        for job_id in failed & deadly:
            self.jobs[job_id].move(S.FAILED)
        left = [i for i in waiting if i not in deadly]
        if lease is None:
            assert left == []
            assert deadly <= failed
            return
        claimed = self.jobs[lease.job_id]
        assert lease.job_id in left
        # First come, first served within the tenant; and no tenant has fewer jobs in work.
        assert lease.job_id == next(i for i in left if self.jobs[i].tenant == claimed.tenant)
        assert busy[claimed.tenant] == min(busy[self.jobs[i].tenant] for i in left)
        claimed.lease, claimed.lease_is_live = lease, True
        claimed.attempts += status == S.VALIDATING_FILES
        self.leases.append(lease)

    @rule(data=st.data())
    @precondition(lambda self: any(job.lease_is_live for job in self.jobs.values()))
    def expire(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from([i for i, j in self.jobs.items() if j.lease_is_live]))
        with self.world.database.transaction() as session:
            session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=1.0))
        self.jobs[job_id].lease_is_live = False

    @rule()
    def requeue_abandoned(self) -> None:
        with self.world.database.transaction() as session:
            found = queue.requeue_abandoned(session, max_attempts=MAX_ATTEMPTS)
        abandoned = [
            i for i, j in self.jobs.items() if j.status == S.RUNNING and not j.lease_is_live
        ]
        assert found == abandoned
        for job_id in abandoned:
            self.lose(self.jobs[job_id])

    def lose(self, job: Expected) -> None:
        job.move(S.FAILED if job.attempts >= MAX_ATTEMPTS else S.QUEUED)
        job.drop_lease()

    @rule(data=st.data())
    @precondition(lambda self: self.jobs and self.leases)
    def renew(self, data: st.DataObject) -> None:
        leases = data.draw(st.lists(st.sampled_from(self.leases), unique=True, max_size=3))
        with self.world.database.transaction() as session:
            held = queue.renew(session, leases, LEASE_SECONDS)
        assert held == {lease.job_id for lease in leases if self.holds(lease)}
        for job_id in held:
            self.jobs[job_id].lease_is_live = True

    @rule(data=st.data())
    @precondition(lambda self: self.jobs and self.leases)
    def release(self, data: st.DataObject) -> None:
        lease = self.some_lease(data)
        job = self.jobs[lease.job_id]
        if not self.holds(lease):
            self.changes_nothing(lambda s: queue.release(s, lease), None)
            return
        with self.world.database.transaction() as session:
            queue.release(session, lease)
        job.drop_lease()
        if job.status == S.VALIDATING_FILES:
            job.attempts = 0

    @rule(data=st.data())
    @precondition(lambda self: any(job.status not in FINAL for job in self.jobs.values()))
    def go_on(self, data: st.DataObject) -> None:
        """The step that comes next, short of the end: so that long lives are met as well."""
        living = [job for job in self.jobs.values() if job.status not in FINAL]
        job = data.draw(st.sampled_from(living))
        if job.lease is not None and job.status in CLAIMABLE:
            self.report(job.lease, "begin" if job.status == S.QUEUED else "prepared")
        elif job.status in CLAIMABLE:
            self.take("one", job.status)

    @rule(data=st.data(), report=st.sampled_from(["begin", "prepared", "complete"]))
    @precondition(lambda self: self.jobs and self.leases)
    def report_a_move(self, data: st.DataObject, report: str) -> None:
        self.report(self.some_lease(data), report)

    def report(self, lease: queue.Lease, report: str) -> None:
        job = self.jobs[lease.job_id]
        call: Callable[[Session], Any] = {
            "begin": lambda s: queue.begin(s, lease, "Started"),
            "prepared": lambda s: progress.prepared(s, lease, PREPARED),
            "complete": lambda s: self.world.complete(s, lease),
        }[report]
        if not self.holds(lease):
            self.changes_nothing(call, LeaseLost)
            return
        wrong = {
            "begin": job.status != S.QUEUED,
            "prepared": job.status not in {S.VALIDATING_FILES, S.PAUSED},
            "complete": job.status != S.RUNNING,
        }[report]
        if wrong:
            self.changes_nothing(call, InvalidRequest)
            return
        with self.world.database.transaction() as session:
            call(session)
        if report == "begin":
            job.move(S.RUNNING)
            job.attempts += 1
        elif report == "prepared":
            job.is_prepared, job.attempts = True, 0
            if job.status == S.VALIDATING_FILES:
                job.move(S.QUEUED)
            job.drop_lease()
        else:
            job.move(S.SUCCEEDED)

    @rule(data=st.data())
    @precondition(lambda self: self.jobs and self.leases)
    def fail(self, data: st.DataObject) -> None:
        lease = self.some_lease(data)

        def call(session: Session) -> None:
            progress.fail(session, lease, "broken", "It broke")

        if not self.holds(lease):
            self.changes_nothing(call, LeaseLost)
            return
        with self.world.database.transaction() as session:
            call(session)
        self.jobs[lease.job_id].move(S.FAILED)

    @rule(data=st.data(), on_purpose=st.booleans())
    @precondition(lambda self: self.jobs and self.leases)
    def requeue(self, data: st.DataObject, on_purpose: bool) -> None:
        lease = self.some_lease(data)
        attempts = None if on_purpose else MAX_ATTEMPTS

        def call(session: Session) -> None:
            queue.requeue(session, lease, "Worker lost", max_attempts=attempts)

        if not self.holds(lease):
            self.changes_nothing(call, LeaseLost)
            return
        with self.world.database.transaction() as session:
            call(session)
        job = self.jobs[lease.job_id]
        if job.status != S.RUNNING:
            job.drop_lease()
        elif on_purpose:
            job.attempts = max(0, job.attempts - 1)
            job.move(S.QUEUED)
            job.drop_lease()
        else:
            self.lose(job)

    @rule(
        data=st.data(),
        report=st.sampled_from(["state", "metrics", "checkpoint", "note"]),
        back=st.integers(0, 2),
    )
    @precondition(lambda self: self.jobs and self.leases)
    def report_progress(self, data: st.DataObject, report: str, back: int) -> None:
        lease = self.some_lease(data)
        self.step += 1
        step = max(1, self.step - back)
        call: Callable[[Session], Any] = {
            "state": lambda s: progress.record_state(s, lease, f"states/{step}", step),
            "metrics": lambda s: progress.record_metrics(
                s, lease, [StepMetrics(step, 30, 1.0, 0.5)], estimated_finish=2e9
            ),
            "checkpoint": lambda s: progress.record_checkpoint(
                s,
                lease,
                StoredAdapter(f"{lease.job_id}-{step}", 16, 100),
                model_name=f"ft:{lease.job_id}",
                step=step,
                metrics={"train_loss": 1.0},
            ),
            "note": lambda s: queue.note(s, lease, "By the way"),
        }[report]
        if not self.holds(lease):
            self.changes_nothing(call, LeaseLost)
            return
        with self.world.database.transaction() as session:
            call(session)
        job = self.jobs[lease.job_id]
        if report == "state":
            if step > job.resume_step:
                job.attempts = 0
            job.resume_step = step

    # What always holds

    def some_lease(self, data: st.DataObject) -> queue.Lease:
        """One that is held, or now and then one of all that ever were."""
        held = [lease for lease in self.leases if self.holds(lease)]
        late = not held or data.draw(st.integers(0, 4)) == 4
        return data.draw(st.sampled_from(self.leases if late else held))

    def holds(self, lease: queue.Lease) -> bool:
        current = self.jobs[lease.job_id].lease
        return current is not None and current.token == lease.token

    def everything(self) -> list[Any]:
        with self.world.database.reading() as session:
            return [
                [dict(row) for row in session.execute(select(table)).mappings()]
                for table in (
                    Job.__table__,
                    JobEvent.__table__,
                    Model.__table__,
                    Adapter.__table__,
                    Checkpoint.__table__,
                )
            ]

    def changes_nothing(
        self, call: Callable[[Session], Any], error: type[Exception] | None
    ) -> None:
        before = self.everything()
        if error is None:
            with self.world.database.transaction() as session:
                call(session)
        else:
            with pytest.raises(error), self.world.database.transaction() as session:
                call(session)
        assert self.everything() == before

    @invariant()
    def the_rows_are_as_expected(self) -> None:
        with self.world.database.reading() as session:
            rows = {job.id: job for job in session.scalars(select(Job))}
            events = session.execute(
                select(JobEvent.job_id, JobEvent.message).order_by(JobEvent.seq)
            ).all()
        assert rows.keys() == self.jobs.keys()
        for job_id, job in self.jobs.items():
            row = rows[job_id]
            assert row.status == job.status
            assert row.attempts == job.attempts <= MAX_ATTEMPTS
            assert row.lease_token == (job.lease.token if job.lease else None)
            assert (row.lease_token is None) == (row.lease_expires_at is None)
            assert (row.finished_at is not None) == (job.status in FINAL)
            assert (row.fine_tuned_model is not None) == (job.status == S.SUCCEEDED)
            assert (row.error is not None) == (job.status == S.FAILED)
            told = [S.VALIDATING_FILES]
            for owner, message in events:
                if owner != job_id:
                    continue
                if message.startswith("The job was resumed"):
                    # Where to depends on whether its files had been read, which pauses hide.
                    told.append(job.history[len(told)])
                    assert told[-1] in CLAIMABLE
                    continue
                told += [to for start, to in MOVES.items() if message.startswith(start)]
            assert told == job.history


def test_a_job_lives_as_the_domain_says(world: World) -> None:
    class Life(JobLife):
        pass

    Life.world = world
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=60 if world.database.is_sqlite else 25,
            stateful_step_count=50,
            deadline=None,
            phases=[Phase.reuse, Phase.generate],  # making a failure shorter takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
