"""The gateway as a process: it starts from the environment, and ends in time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import openai
import pytest
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import ADMIN_KEY, BASE, BASE_DIGEST

from tunesmith.platform import bases
from tunesmith.platform.database import Database


@pytest.fixture
def process(tmp_path: Path, engine: FakeEngine) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    environment |= {
        "TUNESMITH_HOME": str(tmp_path),
        "TUNESMITH_PORT": str(port),
        "TUNESMITH_ENGINES": engine.url,
        "TUNESMITH_ADMIN_KEY": ADMIN_KEY,
        "TUNESMITH_LOG_FORMAT": "json",
    }
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "tunesmith.gateway"], env=environment, stderr=log, text=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/healthz")
                break
            except httpx.TransportError:
                assert started.poll() is None, (tmp_path / "log").read_text()
                assert monotonic() < deadline, "the gateway did not start"
                sleep(0.05)
        yield started, url
    finally:
        started.kill()
        started.wait()


def test_it_serves_logs_json_and_ends_a_stream_in_time(
    process: tuple[subprocess.Popen[str], str], tmp_path: Path, engine: FakeEngine
) -> None:
    running, url = process
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    with database.transaction() as session:
        bases.register_base(
            session,
            name=BASE,
            source="/x",
            digest=BASE_DIGEST,
            context_length=10,
            max_rank=8,
            config={},
        )
    database.dispose()
    made = httpx.post(
        f"{url}/v1/tenants",
        json={"name": "Acme"},
        headers={"authorization": f"Bearer {ADMIN_KEY}", "x-request-id": "the-first"},
    ).json()
    engine.hold.clear()
    messages: Any = [{"role": "user", "content": "hi"}]
    with openai.OpenAI(base_url=f"{url}/v1", api_key=made["key"], max_retries=0) as client:
        stream = client.chat.completions.create(model=BASE, messages=messages, stream=True)
        chunks = iter(stream)
        next(chunks)
        running.send_signal(signal.SIGTERM)
        # Not timed: a gateway that never ends is what fails here.
        with pytest.raises((openai.APIError, httpx.TransportError)):
            list(chunks)
    assert running.wait(60) in (0, -signal.SIGTERM)
    assert engine.aborted.wait(10)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (first,) = [line for line in lines if line.get("request_id") == "the-first"]
    assert (first["event"], first["status"], first["process"]) == ("request", 200, "gateway")
    (second,) = [line for line in lines if line.get("path") == "/v1/chat/completions"]
    assert second["tenant_id"] == made["id"]
    assert ADMIN_KEY not in (tmp_path / "log").read_text()
    assert made["key"] not in (tmp_path / "log").read_text()
