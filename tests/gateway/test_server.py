"""The gateway as a process: it starts from the environment, and ends in time."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import openai
import pytest
from httpx import TransportError
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import ADMIN_KEY, BASE
from tests.gateway.processes import HELLO, GatewayProcess, register_base

from tunesmith.platform.database import Database


def test_it_serves_logs_json_and_ends_a_stream_in_time(tmp_path: Path, engine: FakeEngine) -> None:
    gateway = GatewayProcess(tmp_path, engines=engine.url, grace_seconds=0.5)
    try:
        gateway.wait_until_it_serves()
        database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
        register_base(database)
        database.dispose()
        key = gateway.make_tenant()
        engine.hold.clear()
        messages: Any = HELLO
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
            stream = client.chat.completions.create(model=BASE, messages=messages, stream=True)
            chunks = iter(stream)
            next(chunks)
            gateway.signal()
            # Not timed: a gateway that never ends is what fails here.
            with pytest.raises((openai.APIError, TransportError)):
                list(chunks)
        assert gateway.wait() in (0, -signal.SIGTERM)
    finally:
        gateway.remove()
    assert engine.aborted.wait(10)
    lines = gateway.log_lines()
    (first,) = [line for line in lines if line.get("request_id") == "the-first"]
    assert (first["event"], first["status"], first["process"]) == ("request", 200, "gateway")
    (second,) = [line for line in lines if line.get("path") == "/v1/chat/completions"]
    assert second["tenant_id"].startswith("org-")
    assert ADMIN_KEY not in gateway.log_text()
    assert key not in gateway.log_text()
