"""The commands of batches against a small HTTP server: what they send, print and save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.cli import batches

from .conftest import FakePlatform, Run
from .test_commands import _FILE

BATCH = "/v1/batches/batch_1"


def batch(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "batch_1",
        "object": "batch",
        "status": status,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "input_file_id": "file-1",
        "output_file_id": "file-2" if status == "completed" else None,
        "error_file_id": None,
        "errors": None,
        "created_at": 1_700_000_000,
        "expires_at": 1_700_086_400,
        "request_counts": {"total": 3, "completed": 2, "failed": 1},
        "metadata": None,
    } | more


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_POLL_SECONDS", 0.0)


def test_create_uploads_waits_and_saves(run: Run, fake: FakePlatform, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("{}\n")
    looks = iter([batch("in_progress"), batch()])
    fake.on("POST", "/v1/files", _FILE | {"purpose": "batch"})
    fake.on("POST", "/v1/batches", batch("validating"))
    fake.on("GET", BATCH, lambda: next(looks))
    fake.on("GET", "/v1/files/file-2/content", b'{"custom_id": "a"}\n')
    done = run("batches", "create", str(source), "--watch", "-o", str(target))
    assert done.code == 0, done.err
    assert target.read_text() == '{"custom_id": "a"}\n'
    assert "2 of 3, 1 failed" in done.out
    sent = next(a for a in fake.asked if (a.method, a.path) == ("POST", "/v1/batches"))
    assert sent.json() == {
        "input_file_id": _FILE["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }


def test_a_batch_that_fails_says_why(run: Run, fake: FakePlatform) -> None:
    wrong = {"code": "invalid_url", "message": "`url` is wrong.", "line": 7, "param": "url"}
    errors = {"object": "list", "data": [wrong]}
    fake.on("GET", BATCH, batch("failed", errors=errors))
    shown = run("batches", "show", "batch_1")
    assert (shown.code, "line 7: `url` is wrong." in shown.out) == (0, True)
    waited = run("batches", "show", "batch_1", "--watch")
    assert (waited.code, "failed: `url` is wrong." in waited.err) == (1, True)


def test_list_and_cancel(run: Run, fake: FakePlatform) -> None:
    listed = {"object": "list", "data": [batch()], "has_more": False}
    fake.on("GET", "/v1/batches", listed)
    fake.on("POST", f"{BATCH}/cancel", batch("cancelling"))
    assert "batch_1\tcompleted" in run("batches", "list").out
    assert run("batches", "cancel", "batch_1").out == "batch_1  cancelling\n"
