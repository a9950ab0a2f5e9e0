"""`python -m tests.benchmarks.scale.database_load URL WORK SECONDS START NUMBER`: one client of the
database, which does one kind of work again and again. What it did and took, as JSON.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from sqlalchemy import select

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import ApiKey, File, Job, Model
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import StepMetrics, StoredAdapter
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.creation import JobRequest, create_job
from tunesmith.platform.usage.counts import Counts, UsageKey, add_usage

from .database_rows import BASE

LEASE_SECONDS = 3600.0
STEPS_AT_ONCE = 10
USAGE_ROWS = 100


class Client:
    """One process's part of a kind of work; each call is one transaction, or two."""

    def __init__(self, database: Database, number: int) -> None:
        self._database = database
        self._chance = random.Random(number)
        self._owner = f"client {number}"
        self._step = 0
        with database.reading() as session:
            self._files = [
                (tenant, file) for tenant, file in session.execute(select(File.tenant_id, File.id))
            ]
            self._keys = [
                (tenant, key)
                for tenant, key in session.execute(select(ApiKey.tenant_id, ApiKey.id))
                if tenant is not None
            ]
            self._models = list(session.scalars(select(Model.name).limit(1000)))
        self._day = datetime.now(UTC).date().isoformat()
        self._lease: queue.Lease | None = None

    def create(self) -> int:
        """A job of any tenant."""
        tenant, file = self._chance.choice(self._files)
        with self._database.transaction() as session:
            create_job(session, tenant, JobRequest(model=BASE, training_file=file, seed=1))
        return 1

    def claim(self) -> int:
        """A queued job, given back in a second transaction so that there is always one."""
        with self._database.transaction() as session:
            lease = queue.claim(
                session, self._owner, LEASE_SECONDS, status=JobStatus.QUEUED, bases=[BASE]
            )
        if lease is None:
            raise RuntimeError("no job is left to claim")
        with self._database.transaction() as session:
            queue.release(session, lease)
        return 1

    def life(self) -> int:
        """A queued job from its claim to its model: everything but its steps."""
        with self._database.transaction() as session:
            lease = queue.claim(
                session, self._owner, LEASE_SECONDS, status=JobStatus.QUEUED, bases=[BASE]
            )
        if lease is None:
            raise RuntimeError("no job is left to claim")
        with self._database.transaction() as session:
            queue.begin(session, lease, "Fine-tuning job started")
        for epoch in range(1, 4):
            with self._database.transaction() as session:
                progress.record_state(session, lease, f"states/{epoch}", epoch)
            with self._database.transaction() as session:
                job = queue.leased_job(session, lease)
                progress.record_checkpoint(
                    session, lease, _adapter(), model_name=progress.tuned_name(session, job),
                    step=epoch, metrics={"train_loss": 0.5},
                )  # fmt: skip
        with self._database.transaction() as session:
            job = queue.leased_job(session, lease)
            progress.complete(
                session, lease, _adapter(), model_name=progress.tuned_name(session, job),
                trained_tokens=450_000, result_file=job.training_file,
            )  # fmt: skip
        return 1

    def step(self) -> int:
        """One step's event of this client's own job."""
        return self._steps(1)

    def steps(self) -> int:
        """Several steps' events at once, as when a cohort is faster than the dispatcher's loop."""
        return self._steps(STEPS_AT_ONCE)

    def usage(self) -> int:
        """What a gateway counted in a second: so many keys' rows."""
        rows = {}
        for _ in range(USAGE_ROWS):
            tenant, key = self._chance.choice(self._keys)
            model = self._chance.choice(self._models) if self._models else BASE
            rows[UsageKey(tenant, key, model, "", self._day)] = Counts(1, 400, 150)
        with self._database.transaction() as session:
            add_usage(session, rows)
        return len(rows)

    def _steps(self, count: int) -> int:
        lease = self._held()
        first = self._step + 1
        self._step += count
        metrics = [
            StepMetrics(
                step, 10**6, 0.5, 0.8, learning_rate=1e-4, grad_norm=1.0, tokens=1200,
                tokens_per_second=9000.0, padding_share=0.0,
            )
            for step in range(first, first + count)
        ]  # fmt: skip
        with self._database.transaction() as session:
            progress.record_metrics(session, lease, metrics, estimated_finish=time.time() + 60)
        return count

    def _held(self) -> queue.Lease:
        if self._lease is None:
            with self._database.transaction() as session:
                lease = queue.claim(
                    session, self._owner, LEASE_SECONDS, status=JobStatus.QUEUED, bases=[BASE]
                )
            if lease is None:
                raise RuntimeError("no job is left to claim")
            with self._database.transaction() as session:
                queue.begin(session, lease, "begun")
            self._lease = lease
        return self._lease


def _adapter() -> StoredAdapter:
    return StoredAdapter(uuid4().hex * 2, rank=16, bytes=168_000_000)


def renewals(database: Database, leases: int, repeats: int) -> list[float]:
    """Seconds of each renewal of so many jobs' leases: the dispatcher's sign of life."""
    owner = random_text()
    held: list[queue.Lease] = []
    with database.transaction() as session:
        jobs = session.scalars(
            select(Job).where(Job.status == JobStatus.QUEUED).limit(leases)
        ).all()
        for job in jobs:
            job.lease_token, job.lease_owner = random_text(), owner
            job.lease_expires_at = time.time() + LEASE_SECONDS
            held.append(queue.Lease(job.id, job.lease_token, job.lease_expires_at))
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        with database.transaction() as session:
            if len(queue.renew(session, held, LEASE_SECONDS)) != leases:
                raise RuntimeError(f"there are fewer than {leases} jobs to hold")
        seconds.append(time.perf_counter() - begun)
    with database.transaction() as session:
        for lease in held:
            queue.release(session, lease)
    return seconds


def quiet() -> None:
    """Keep the platform's logs out of what is printed: it is read."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def main() -> None:
    quiet()
    url, work, seconds, start, number = sys.argv[1:6]
    database = Database(url)
    client = Client(database, int(number))
    act: Callable[[], int] = getattr(client, work)
    act()  # statements are compiled, the connection is there
    time.sleep(max(0.0, float(start) - time.time()))
    done, times = 0, []
    cpu, first = time.process_time(), time.perf_counter()
    end = first + float(seconds)
    while (begun := time.perf_counter()) < end:
        done += act()
        times.append(time.perf_counter() - begun)
    took, cpu = time.perf_counter() - first, time.process_time() - cpu
    database.dispose()
    print(json.dumps({"done": done, "took": took, "cpu": cpu, "seconds": times}))


if __name__ == "__main__":
    main()
