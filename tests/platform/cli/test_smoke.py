"""`tunesmith smoke` against a small HTTP server: the journey, and what it leaves behind."""

from __future__ import annotations

import pytest

from .conftest import FakePlatform, Run
from .test_commands import _FILE, _event, _job, _list

MODEL = "ft:pocket:smoke-test:smoke:1"


@pytest.fixture
def platform(fake: FakePlatform) -> FakePlatform:
    """One that works."""
    fake.on("GET", "/v1/tenants", _list())
    fake.on("POST", "/v1/tenants", {"id": "org-1", "name": "smoke-test", "key": "sk-first"})
    fake.on("POST", "/v1/tenants/org-1/keys", {"id": "key-1", "key": "sk-smoke"})
    fake.on("DELETE", "/v1/tenants/org-1/keys/key-1", {"deleted": True})
    base = {"id": "pocket", "object": "model", "created": 1, "owned_by": "tunesmith"}
    fake.on("GET", "/v1/models", _list(base))
    fake.on("POST", "/v1/files", _FILE)
    fake.on("DELETE", "/v1/files/file-1", {"id": "file-1", "object": "file", "deleted": True})
    fake.on("POST", "/v1/fine_tuning/jobs", _job("queued"))
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1", _job(fine_tuned_model=MODEL))
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/events", _list(_event(1)))
    fake.on("DELETE", f"/v1/models/{MODEL}", {"id": MODEL, "object": "model", "deleted": True})
    return fake


def deleted(fake: FakePlatform) -> set[str]:
    return {asked.path for asked in fake.asked if asked.method == "DELETE"}


def test_a_job_that_fails_is_told_and_nothing_is_left(run: Run, platform: FakePlatform) -> None:
    error = {"code": "base_unusable", "message": "The base is gone.", "param": None}
    job = _job("failed", error=error, fine_tuned_model=None)
    platform.on("GET", "/v1/fine_tuning/jobs/ftjob-1", job)
    result = run("smoke")
    assert result.code == 1
    assert "The job ftjob-1 failed: The base is gone." in result.err.replace("\n", " ")
    assert "message 1" in result.out
    assert deleted(platform) == {"/v1/files/file-1", "/v1/tenants/org-1/keys/key-1"}


def test_a_job_that_does_not_end_is_cancelled(run: Run, platform: FakePlatform) -> None:
    platform.on("GET", "/v1/fine_tuning/jobs/ftjob-1", _job("queued"))
    platform.on("POST", "/v1/fine_tuning/jobs/ftjob-1/cancel", _job("cancelled"))
    result = run("smoke", "--timeout", "1")
    assert result.code == 1
    assert "still queued" in result.err
    assert any(asked.path.endswith("/cancel") for asked in platform.asked)


def test_a_base_that_is_not_there_is_told(run: Run, platform: FakePlatform) -> None:
    result = run("smoke", "--base", "other")
    assert result.code == 1
    assert "There is no base 'other'; the bases are pocket." in result.err.replace("\n", " ")
    assert deleted(platform) == {"/v1/tenants/org-1/keys/key-1"}


def test_the_tenant_of_before_is_used_again(run: Run, platform: FakePlatform) -> None:
    platform.on("GET", "/v1/tenants", _list({"id": "org-1", "name": "smoke-test"}))
    run("smoke", "--base", "other")
    assert not any(a.path == "/v1/tenants" and a.method == "POST" for a in platform.asked)


def test_it_speaks_as_the_administrator_and_then_as_its_tenant(
    run: Run, platform: FakePlatform
) -> None:
    run("smoke", "--base", "other")
    keys = {asked.path.split("?")[0]: asked.key for asked in platform.asked}
    assert keys["/v1/models"] == "sk-smoke"
    assert keys["/v1/tenants"] != "sk-smoke"
