"""A gateway that is told to end serves on for a time, and lets end what has begun."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import httpx
import pytest
from sqlalchemy import func, select
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import BASE, wait_for
from tests.gateway.processes import GatewayProcess, question, register_base

from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Usage

LONG = 600
"""Seconds that no test waits for."""

Start = Callable[..., GatewayProcess]


@pytest.fixture
def start(tmp_path: Path, engine: FakeEngine) -> Iterator[Start]:
    """Starts gateways in front of `engine`."""
    started: list[GatewayProcess] = []

    def start(**settings: object) -> GatewayProcess:
        process = GatewayProcess(tmp_path, engines=engine.url, **settings)
        started.append(process)
        return process

    yield start
    for process in started:
        process.remove()


@pytest.fixture
def database(postgres_database: str) -> Iterator[Database]:
    database = Database(postgres_database)
    migrate(database)
    register_base(database)
    yield database
    database.dispose()


def counted(database: Database) -> int:
    with database.reading() as session:
        return session.scalars(select(func.coalesce(func.sum(Usage.requests), 0))).one()


@contextmanager
def stream(url: str, key: str) -> Iterator[tuple[httpx.Response, Iterator[str]]]:
    """A stream whose first chunk has come."""
    headers = {"authorization": f"Bearer {key}"}
    with (
        httpx.Client(headers=headers, timeout=60) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json=question(stream=True)) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        yield answer, lines


def test_what_has_begun_ends_whole_and_what_comes_in_the_drain_is_served(
    start: Start, engine: FakeEngine, database: Database
) -> None:
    gateway = start(drain_seconds=5, grace_seconds=LONG, database_url=database.url)
    gateway.wait_until_it_serves()
    key = gateway.make_tenant()
    engine.hold.clear()
    with httpx.Client() as kept_alive, stream(gateway.url, key) as (_, lines):
        assert "connection" not in kept_alive.get(f"{gateway.url}/healthz").headers
        gateway.signal()
        wait_for(lambda: not gateway.is_ready())
        told = httpx.get(f"{gateway.url}/readyz").json()
        assert not told["ready"]
        assert "ending" in told["parts"]["gateway"]["reason"]
        assert httpx.get(f"{gateway.url}/healthz").status_code == 200
        for client in (kept_alive, httpx):  # one that was connected, and a new one
            answer = client.get(
                f"{gateway.url}/v1/models", headers={"authorization": f"Bearer {key}"}
            )
            assert answer.status_code == 200
            assert answer.headers["connection"] == "close"
        with stream(gateway.url, key) as (answer, more):
            wait_for(lambda: refuses(gateway.url))
            assert answer.headers["connection"] == "close"
            engine.hold.set()
            assert list(lines)[-2] == list(more)[-2] == "data: [DONE]"
    assert gateway.wait() in {0, -signal.SIGTERM}
    assert counted(database) == 2
    assert "requests ended before their time" not in gateway.log_text()


def refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz")
    except httpx.ConnectError:
        return True
    return False


def test_a_second_signal_hurries_and_what_was_used_is_written_down(
    start: Start, engine: FakeEngine, database: Database
) -> None:
    gateway = start(drain_seconds=LONG, grace_seconds=LONG, database_url=database.url)
    gateway.wait_until_it_serves()
    engine.hold.clear()
    with stream(gateway.url, gateway.make_tenant()) as (_, lines):
        gateway.signal()
        wait_for(lambda: not gateway.is_ready())
        gateway.signal()
        with pytest.raises(httpx.TransportError):
            list(lines)
    assert gateway.wait() in {0, -signal.SIGTERM}
    assert engine.aborted.wait(10)
    assert counted(database) == 1


class Balancer:
    """Knows which gateways are ready, as a Service of Kubernetes does: some time afterwards."""

    def __init__(self) -> None:
        self.gateways: list[GatewayProcess] = []
        self._ready: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def choose(self, asked: Collection[str]) -> str:
        """A gateway that is asked least now."""
        wait_for(lambda: bool(self._ready))
        return min(self._ready, key=list(asked).count)

    def sends_to(self, gateway: GatewayProcess) -> bool:
        return gateway.url in self._ready

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self._ready = [gateway.url for gateway in list(self.gateways) if gateway.is_ready()]


class Load:
    """Clients that stream one answer after the other and try only refused connections again."""

    def __init__(self, balancer: Balancer, key: str, clients: int) -> None:
        self.whole = 0
        self.failures: list[str] = []
        self.begun_at: dict[int, str] = {}
        """Where each client has an answer that has begun, and not ended."""
        self._asked: dict[int, str] = {}
        self._choosing = threading.Lock()
        self._balancer = balancer
        self._key = key
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        headers = {"authorization": f"Bearer {self._key}"}
        with httpx.Client(headers=headers, timeout=60) as client:
            while not self._over.wait(0.05):  # or it would take the machine from the gateways
                with self._choosing:
                    url = self._balancer.choose(self._asked.values())
                    self._asked[number] = url
                try:
                    with client.stream(
                        "POST", f"{url}/v1/chat/completions", json=question(stream=True)
                    ) as answer:
                        lines = []
                        for line in answer.iter_lines():
                            lines.append(line)
                            self.begun_at[number] = url
                    if answer.status_code == 200 and "data: [DONE]" in lines:
                        self.whole += 1
                    else:
                        self.failures.append(f"{answer.status_code}: {lines}")
                except httpx.ConnectError:
                    sleep(0.05)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                self.begun_at.pop(number, None)
                del self._asked[number]


def test_no_answer_is_cut_when_gateways_are_rolled_one_by_one_under_load(
    start: Start, engine: FakeEngine, database: Database
) -> None:
    def started() -> GatewayProcess:
        return start(
            drain_seconds=2,
            grace_seconds=LONG,
            database_url=database.url,
            migrate="wait",
        )

    balancer = Balancer()
    first, second, third = started(), started(), started()
    for gateway in (first, second, third):
        gateway.wait_until_it_serves()
    balancer.gateways = [first, second]
    load = Load(balancer, balancer.gateways[0].make_tenant(), clients=4)
    try:
        for old, left in ((first, [second, third]), (second, [third])):
            engine.hold.clear()
            wait_for(lambda: old.url in load.begun_at.values())  # noqa: B023
            old.signal()
            wait_for(lambda: not balancer.sends_to(old))  # noqa: B023
            wait_for(lambda: refuses(old.url))  # noqa: B023
            assert old.url in load.begun_at.values()  # it still streams
            engine.hold.set()
            assert old.wait() in {0, -signal.SIGTERM}
            balancer.gateways = left
            whole = load.whole
            wait_for(lambda: load.whole > whole + 20)  # noqa: B023
    finally:
        engine.hold.set()
        load.end()
        balancer.end()
    assert load.failures == []
    third.signal()
    third.wait()
    assert counted(database) == load.whole
    assert all(body["model"] == BASE for body in engine.requests)
