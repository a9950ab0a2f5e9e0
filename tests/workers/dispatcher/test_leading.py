"""Of several dispatchers one acts; another follows when it ends, dies or loses its lease."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select, update

from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Leader
from tunesmith.platform.leadership import Leadership
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.supervisor.ports import free_port
from tunesmith.workers.dispatcher import dispatcher as module
from tunesmith.workers.dispatcher.dispatcher import Dispatcher
from tunesmith.workers.dispatcher.ray_cluster import RayUnavailable

LONG = 600.0
"""A lease that does not run out while a test lasts."""


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


class Cluster:
    """A Ray cluster that is there or not."""

    def __init__(self) -> None:
        self.connected = False
        self.away = False

    def connect(self) -> None:
        if self.away:
            raise RayUnavailable("no head")
        self.connected = True

    def disconnect(self) -> None:
        self.connected = False

    def is_lost(self, error: Exception) -> bool:
        return False


class RecordedTerm:
    """What a dispatcher does with a term."""

    terms: ClassVar[list[RecordedTerm]] = []
    cohorts: tuple[Any, ...] = ()

    def __init__(self, *_: Any, succeeds_lost: bool, ray: Cluster, **others: Any) -> None:
        self.succeeds_lost = succeeds_lost
        self.ray = ray
        self.did: list[str] = []
        self.turned = threading.Event()
        self.terms.append(self)

    def turn(self) -> None:
        self.turned.set()
        if self.ray.away:
            raise RayUnavailable("The connection to Ray was lost.")

    def interrupt(self) -> None: ...

    def stop(self) -> None:
        self.did.append("stop")

    def let_go(self) -> None:
        self.did.append("let go")

    def give_back(self, reason: str) -> None:
        self.did.append("give back")


@pytest.fixture
def terms(monkeypatch: pytest.MonkeyPatch) -> list[RecordedTerm]:
    RecordedTerm.terms = []

    def make(
        settings: Any, database: Any, storage: Any, ray: Cluster, **others: Any
    ) -> RecordedTerm:
        return RecordedTerm(ray=ray, **others)

    monkeypatch.setattr(module, "Term", make)
    return RecordedTerm.terms


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(Settings(home=tmp_path).database_url)
    migrate(made)
    yield made
    made.dispose()


@contextmanager
def running(
    database: Database,
    home: Path,
    name: str,
    *,
    lease: float = LONG,
    cluster: Cluster | None = None,
) -> Iterator[Dispatcher]:
    settings = Settings(home=home, lease_seconds=lease)
    ray: Any = cluster or Cluster()
    dispatcher = Dispatcher(
        settings, database, Storage(settings.storage_url), ray=ray, name=f"{name} 1 1 1"
    )
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        thread.join(60)
        assert not thread.is_alive()


def leads(dispatcher: Dispatcher, name: str) -> bool:
    value = dispatcher.metrics.registry.get_sample_value(
        "tunesmith_leader", {"process": f"{name} 1"}
    )
    assert value is not None
    return value == 1.0


def steal(database: Database) -> None:
    """Another process has taken the lease."""
    with database.transaction() as session:
        session.execute(update(Leader).values(holder="thief", token="t", expires_at=4e9))


def test_a_standby_is_ready_and_idle_and_follows_at_once(
    database: Database, tmp_path: Path, terms: list[RecordedTerm]
) -> None:
    with running(database, tmp_path, "first") as first:
        until(lambda: terms and terms[0].turned.is_set())
        standby = Cluster()
        with running(database, tmp_path, "second", cluster=standby) as second:
            until(lambda: second.status.readiness()[0])
            assert (leads(first, "first"), leads(second, "second")) == (True, False)
            assert not standby.connected  # a connection costs the head a process
            first.stop()
            until(lambda: leads(second, "second"))  # its lease would have lasted
            until(lambda: len(terms) == 2 and terms[1].turned.is_set())
    assert [term.did for term in terms] == [["stop"], ["stop"]]
    assert not terms[1].succeeds_lost


def test_who_lost_the_lease_lets_its_cohorts_go(
    database: Database, tmp_path: Path, terms: list[RecordedTerm]
) -> None:
    with running(database, tmp_path, "loser", lease=1.0) as dispatcher:
        until(lambda: terms and terms[0].turned.is_set())
        steal(database)
        until(lambda: terms[0].did == ["let go"])
        assert not leads(dispatcher, "loser")
        with database.transaction() as session:  # its thief has ended
            session.execute(update(Leader).values(expires_at=0.0))
        until(lambda: len(terms) == 2 and terms[1].turned.is_set())
    assert terms[1].succeeds_lost


def test_a_database_that_is_away_for_a_while_costs_no_cohort(
    database: Database, tmp_path: Path, terms: list[RecordedTerm]
) -> None:
    with running(database, tmp_path, "leader", lease=0.6) as dispatcher:
        until(lambda: terms and terms[0].turned.is_set())
        with database.transaction() as session:
            session.connection().exec_driver_sql("ALTER TABLE leaders RENAME TO away")
        until(lambda: not leads(dispatcher, "leader"))
        ready, body = dispatcher.status.readiness()
        assert not ready
        assert "database" in body["waiting_for"]
        assert dispatcher.status.health()[0]
        terms[0].turned.clear()
        with database.transaction() as session:
            session.connection().exec_driver_sql("ALTER TABLE away RENAME TO leaders")
        until(terms[0].turned.is_set)
        assert leads(dispatcher, "leader")
        assert terms[0].did == []
    assert len(terms) == 1


def test_a_ray_cluster_that_is_lost_is_joined_again(
    database: Database, tmp_path: Path, terms: list[RecordedTerm]
) -> None:
    cluster = Cluster()
    cluster.away = True
    with running(database, tmp_path, "leader", cluster=cluster) as dispatcher:
        until(lambda: dispatcher.status.readiness()[1]["waiting_for"] == {"ray": "no head"})
        cluster.away = False
        until(lambda: terms and terms[0].turned.is_set())
        assert dispatcher.status.readiness()[0]
        cluster.away = True
        until(lambda: terms[0].did == ["give back"])
        until(lambda: not cluster.connected)
        cluster.away = False
        until(lambda: len(terms) == 2 and terms[1].turned.is_set())
        assert leads(dispatcher, "leader")


class Process:
    """`python -m tunesmith.workers.dispatcher`, which leads and waits for a Ray cluster."""

    def __init__(self, home: Path, lease: float) -> None:
        self.port = free_port()
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")},
            "TUNESMITH_HOME": str(home),
            "TUNESMITH_RAY_ADDRESS": "ray://127.0.0.1:1",
            "TUNESMITH_LEASE_SECONDS": str(lease),
            "TUNESMITH_DISPATCHER_METRICS_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "tunesmith.workers.dispatcher"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def leads(self) -> bool:
        try:
            text = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text
        except httpx.TransportError:
            return False
        return any(
            sample.value == 1.0
            for family in text_string_to_metric_families(text)
            if family.name == "tunesmith_leader"
            for sample in family.samples
        )

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def process(home: Path, lease: float) -> Iterator[Process]:
    started = Process(home, lease)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def test_a_killed_process_is_followed_and_a_paused_one_stands_down(
    database: Database, tmp_path: Path
) -> None:
    with process(tmp_path, lease=2.0) as first:
        until(first.leads)
        with process(tmp_path, lease=2.0) as second:
            until(second.ready)  # a standby waits for no Ray
            assert not second.leads()
            first.process.kill()
            until(second.leads)
            second.process.send_signal(signal.SIGSTOP)
            thief = Leadership(database, "dispatcher", LONG, holder="thief")
            until(thief.campaign)
            second.process.send_signal(signal.SIGCONT)
            until(lambda: second.ready() and not second.leads())
            with database.reading() as session:
                assert session.scalars(select(Leader.holder)).one() == "thief"
            second.process.terminate()
            assert second.process.wait(60) == 0
