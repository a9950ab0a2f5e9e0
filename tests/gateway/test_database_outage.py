"""A gateway whose database is late, restarts, or is away for a while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import ADMIN_KEY, error_of, wait_for
from tests.gateway.processes import GatewayProcess, question, register_base
from tests.postgres import PostgresServer

from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Usage

CHAT = "/v1/chat/completions"


def test_a_gateway_without_its_database_lives_says_so_and_ends_when_told(tmp_path: Path) -> None:
    url = f"postgresql://ada:secret@/tunesmith?host={tmp_path}&port=6543"
    gateway = GatewayProcess(tmp_path / "home", database_url=url, migrate="wait")
    try:
        gateway.wait_until_it_listens()
        ready = httpx.get(f"{gateway.url}/readyz?part=database&part=storage")
        assert ready.status_code == 503
        assert ready.json()["parts"]["gateway"] == {
            "ready": False,
            "reason": "The gateway is starting.",
        }
        asked = httpx.get(f"{gateway.url}/v1/models")
        assert (asked.status_code, error_of(asked)["code"]) == (503, "gateway_starting")
        assert int(asked.headers["retry-after"]) > 0
        wait_for(lambda: "waiting for the database" in gateway.log_text())
        line = next(
            line for line in gateway.log_lines() if line["event"] == "waiting for the database"
        )
        assert line["database"] == f"the PostgreSQL database 'tunesmith' at {tmp_path}:6543"
        assert "No such file" in line["reason"]
        assert "secret" not in gateway.log_text()
        gateway.signal()
        assert gateway.wait() in {0, -signal.SIGTERM}
    finally:
        gateway.remove()


def test_a_gateway_that_can_never_start_says_why(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, migrate="wait")  # with SQLite
    try:
        assert gateway.wait() == 1
        assert "TUNESMITH_MIGRATE=wait is for processes that share a PostgreSQL" in (
            gateway.log_text()
        )
    finally:
        gateway.remove()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL that this test may stop."""
    server = PostgresServer()
    server.start()
    yield server
    server.stop()
    server.remove()


class Asking:
    """Sends requests of all kinds until it is told to end; what was answered."""

    def __init__(self, url: str, key: str) -> None:
        self.statuses: dict[str, set[int]] = {}
        self.unexplained: list[str] = []
        self._over = threading.Event()
        self._url = url
        self._key = key
        self._threads = [
            threading.Thread(target=self._ask, args=request)
            for request in (
                ("GET", "/v1/models", self._key, None),
                ("GET", "/v1/fine_tuning/jobs", self._key, None),
                ("POST", "/v1/files", self._key, None),
                ("GET", "/v1/tenants", ADMIN_KEY, None),
                ("POST", CHAT, self._key, question(stream=False)),
                ("POST", CHAT, "sk-ts-of-nobody", question(stream=False)),
            )
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, method: str, path: str, key: str, body: object) -> None:
        files = {"file": ("a.jsonl", b"{}")} if path == "/v1/files" else None
        data = {"purpose": "user_data"} if files else None
        name = "a stranger's chat" if key == "sk-ts-of-nobody" else path
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=60) as client:
            while not self._over.is_set():
                answer = client.request(method, path, json=body, files=files, data=data)
                self.statuses.setdefault(name, set()).add(answer.status_code)
                if answer.status_code >= 500 and "retry-after" not in answer.headers:
                    self.unexplained.append(f"{name}: {answer.text}")


def test_a_gateway_outlives_restarts_of_its_database(
    tmp_path: Path, engine: FakeEngine, server: PostgresServer
) -> None:
    gateway = GatewayProcess(tmp_path, database_url=server.url, engines=engine.url, migrate="wait")
    database = Database(server.url)
    try:
        gateway.wait_until_it_listens()
        wait_for(lambda: "is to be migrated, by `tunesmith migrate`" in gateway.log_text())
        migrate(database)
        gateway.wait_until_it_serves()
        register_base(database)
        key = gateway.make_tenant()
        headers = {"authorization": f"Bearer {key}"}

        def chat() -> int:
            return httpx.post(
                f"{gateway.url}{CHAT}", json=question(stream=False), headers=headers, timeout=60
            ).status_code

        assert chat() == 200
        asking = Asking(gateway.url, key)
        try:
            for mode in ("immediate", "fast"):
                server.stop(mode)
                try:
                    wait_for(lambda: not gateway.is_ready())
                    assert [chat() for _ in range(5)] == [200] * 5
                finally:
                    server.start()
                wait_for(gateway.is_ready)
        finally:
            asking.end()
        assert asking.unexplained == []
        assert asking.statuses.pop(CHAT) == {200}
        assert asking.statuses.pop("a stranger's chat") == {401, 503}
        assert len(asking.statuses) == 4
        for path, statuses in asking.statuses.items():
            assert statuses == {200, 503}, path
        answered = sum(body["messages"] is not None for body in engine.requests)
        gateway.signal()
        gateway.wait()
        with database.reading() as session:
            assert session.scalars(select(func.sum(Usage.requests))).one() == answered
    finally:
        gateway.remove()
        database.dispose()
