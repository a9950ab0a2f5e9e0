"""Training in a Ray cluster that the dispatcher reaches by the Ray client, as with KubeRay."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from tunesmith.platform import files, tenants
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Job, JobEvent
from tunesmith.platform.examples import write_normalised
from tunesmith.platform.jobs.creation import JobRequest, create_job
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.supervisor.ports import free_port

from .data import csv_pairs
from .platform import JOB_SECONDS, until
from .ray_cluster import RayCluster, ray_cluster, worker_process

FINAL = ("succeeded", "failed", "cancelled")


class Stack:
    """Database, storage and base of one installation, and jobs in it."""

    def __init__(self, home: Path, cluster: RayCluster) -> None:
        self.cluster = cluster
        self.settings = Settings(home=home)
        self.database = Database(self.settings.database_url)
        self.storage = Storage(self.settings.storage_url)
        self.port = free_port()
        self.log = home / "dispatcher.log"
        self.environment = cluster.environment | {
            "TUNESMITH_HOME": str(home),
            "TUNESMITH_RAY_ADDRESS": cluster.client_address,
            "TUNESMITH_BASE_NAME": "pocket",
            "TUNESMITH_DEVICE": "cpu",
            "TUNESMITH_LEASE_SECONDS": "4",
            "TUNESMITH_CHECKPOINT_EVERY_STEPS": "5",
            "TUNESMITH_DISPATCHER_METRICS_PORT": str(self.port),
        }
        migrate(self.database)
        subprocess.run(
            [sys.executable, "-m", "tunesmith.workers.bases"],
            env=self.environment,
            check=True,
            capture_output=True,
        )
        out = io.BytesIO()
        write_normalised(io.BytesIO(csv_pairs(24)), "a.csv", out)
        self.storage.put("examples/a", out.getvalue())
        with self.database.transaction() as session:
            self.tenant = tenants.create_tenant(session, "Acme").id
            stored = files.StoredFile("k", 9, "s", examples_key="examples/a", examples=24)
            self.file = files.add_file(
                session, self.tenant, stored, filename="a.csv", purpose="fine-tune"
            ).id

    def job(self, epochs: int) -> str:
        request = JobRequest(
            model="pocket",
            training_file=self.file,
            seed=7,
            hyperparameters={"n_epochs": epochs, "batch_size": 4},
        )
        with self.database.transaction() as session:
            return create_job(session, self.tenant, request).id

    def status(self, job_id: str) -> str:
        with self.database.reading() as session:
            return session.scalars(select(Job.status).where(Job.id == job_id)).one()

    def messages(self, job_id: str) -> list[str]:
        with self.database.reading() as session:
            query = select(JobEvent.message).where(
                JobEvent.job_id == job_id, JobEvent.step.is_(None)
            )
            return list(session.scalars(query.order_by(JobEvent.seq)))

    def told(self, job_id: str, words: str) -> bool:
        return any(words in message for message in self.messages(job_id))

    def explain(self, job_id: str) -> str:
        return "\n".join([*self.messages(job_id), self.log.read_text()[-6000:]])

    def succeeds(self, job_id: str) -> None:
        until(
            lambda: self.cluster.tend() and self.status(job_id) in FINAL,
            2 * JOB_SECONDS,
            lambda: self.explain(job_id),
        )
        assert self.status(job_id) == "succeeded", self.explain(job_id)

    def waits_for(self) -> dict[str, str]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz")
        except httpx.TransportError:
            return {"start": ""}
        found: dict[str, str] = answer.json()["waiting_for"]
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(token="a" * 64) as started:
        until(started.listens, 240, started.logs)
        yield started


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster) -> Stack:
    return Stack(tmp_path_factory.mktemp("stack"), cluster)


def test_a_dispatcher_without_the_token_is_refused_and_says_so(
    stack: Stack, cluster: RayCluster
) -> None:
    environment = stack.environment | {"RAY_AUTH_TOKEN": "b" * 64}
    with worker_process("tunesmith.workers.dispatcher", environment, stack.log):
        until(lambda: "ray" in stack.waits_for(), 120, stack.log.read_text)
        assert "RAY_AUTH_TOKEN" in stack.waits_for()["ray"]


def ends_in_order(dispatcher: subprocess.Popen[bytes]) -> bool:
    """Ray would have SIGTERM end its drivers at once, jobs and all."""
    dispatcher.terminate()
    return dispatcher.wait(60) == 0


def test_a_job_waits_for_a_worker_and_says_so(stack: Stack, cluster: RayCluster) -> None:
    with worker_process("tunesmith.workers.dispatcher", stack.environment, stack.log) as dispatcher:
        job = stack.job(epochs=2)
        until(lambda: stack.told(job, "none is in the Ray cluster"), 120, stack.log.read_text)
        assert stack.status(job) == "queued"
        assert stack.waits_for() == {}
        cluster.start_worker()
        stack.succeeds(job)
        assert ends_in_order(dispatcher)


@pytest.mark.chaos
def test_a_job_outlives_its_worker_and_the_head(stack: Stack, cluster: RayCluster) -> None:
    with worker_process("tunesmith.workers.dispatcher", stack.environment, stack.log) as dispatcher:
        job = stack.job(epochs=20)
        until(
            lambda: cluster.tend() and stack.told(job, "started"), 240, lambda: stack.explain(job)
        )
        cluster.kill_workers()
        until(lambda: stack.told(job, "was lost"), 120, lambda: stack.explain(job))
        cluster.kill(cluster.head)
        until(lambda: "ray" in stack.waits_for(), 120, stack.log.read_text)
        assert stack.status(job) == "queued"
        cluster.start_head()
        cluster.start_worker()
        stack.succeeds(job)
        assert ends_in_order(dispatcher)
