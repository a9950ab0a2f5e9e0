"""What probes are told of a process that waits, works, or hangs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.settings import Settings
from tunesmith.workers.status_server import ProcessStatus, StatusServer, serve_status


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def status(clock: Clock) -> ProcessStatus:
    return ProcessStatus(hung_after=60, clock=clock)


@pytest.fixture
def server(status: ProcessStatus) -> Iterator[StatusServer]:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    started = StatusServer("127.0.0.1", 0, status, registry)
    yield started
    started.close()


def get(server: StatusServer, path: str) -> tuple[int, Any]:
    answer = httpx.get(f"http://127.0.0.1:{server.port}{path}")
    return answer.status_code, answer.json()


def test_a_process_that_waits_is_healthy_and_says_what_for(
    server: StatusServer, status: ProcessStatus
) -> None:
    status.waits_for("ray", "The Ray cluster at ray://head:10001 is not available.")
    code, body = get(server, "/readyz")
    assert code == 503
    assert body["waiting_for"] == {"ray": "The Ray cluster at ray://head:10001 is not available."}
    assert get(server, "/healthz")[0] == 200
    status.has("ray")
    assert get(server, "/readyz") == (200, {"status": "ready", "waiting_for": {}})


def test_a_loop_that_does_not_turn_is_unhealthy(
    server: StatusServer, status: ProcessStatus, clock: Clock
) -> None:
    clock.now = 60.0
    assert get(server, "/healthz")[0] == 200
    clock.now = 61.0
    code, body = get(server, "/healthz")
    assert code == 503
    assert "has not turned for 61 s" in body["reason"]
    status.turned()
    assert get(server, "/healthz")[0] == 200


def test_a_wait_on_purpose_is_no_hang(
    server: StatusServer, status: ProcessStatus, clock: Clock
) -> None:
    with status.resting("database", "A migration."):
        clock.now = 3600.0
        assert get(server, "/healthz")[0] == 200
        assert get(server, "/readyz")[0] == 503
    assert get(server, "/healthz")[0] == 200
    assert get(server, "/readyz")[0] == 200
    clock.now = 3661.0
    assert get(server, "/healthz")[0] == 503


def test_figures_are_served_and_other_paths_are_not(server: StatusServer) -> None:
    text = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
    assert "things_total 3.0" in text
    assert get(server, "/")[0] == 404


def test_a_client_that_says_nothing_keeps_nobody_waiting(server: StatusServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert get(server, "/healthz")[0] == 200


def test_ipv6_is_listened_on(status: ProcessStatus) -> None:
    try:
        server = StatusServer("::1", 0, status, CollectorRegistry())
    except OSError as error:
        pytest.skip(f"This machine has no IPv6: {error}")
    try:
        assert httpx.get(f"http://[::1]:{server.port}/healthz").status_code == 200
    finally:
        server.close()


def test_a_port_in_use_is_refused_with_the_settings_to_change(
    tmp_path: Path, status: ProcessStatus
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(home=tmp_path, evaluator_metrics_port=taken.getsockname()[1])
        with pytest.raises(InvalidRequest, match="TUNESMITH_EVALUATOR_METRICS_PORT"):
            serve_status(settings, "evaluator", status, CollectorRegistry())
    assert serve_status(settings, "dispatcher", status, CollectorRegistry()) is None
