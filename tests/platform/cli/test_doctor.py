"""`tunesmith doctor`: what it finds, what it advises, and when it says no."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tunesmith.platform.cli import checks
from tunesmith.platform.cli.checks import Finding, Verdict
from tunesmith.platform.settings import Settings

from .conftest import Run


@pytest.fixture
def _without_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torch and vLLM takes a minute on a small machine; their turn is another test."""
    monkeypatch.setattr(checks, "_python_says", lambda _code: (True, "cpu"))


@pytest.mark.usefixtures("_without_imports")
def test_json_has_every_check_and_the_verdict(run: Run) -> None:
    result = run("doctor", "--json", "--port", "18999")
    report = result.json()
    names = [check["name"] for check in report["checks"]]
    for name in ("Python", "CPU", "memory", "disk", "port", "database", "device", "torch", "vllm"):
        assert name in names
    failed = [check for check in report["checks"] if check["verdict"] == "fail"]
    assert report["ok"] == (not failed)
    assert result.code == (1 if failed else 0)
    assert all(check["advice"] for check in failed)


@pytest.mark.usefixtures("_without_imports")
def test_a_port_in_use_blocks(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("doctor", "--port", str(taken.getsockname()[1]))
    assert result.code == 1
    assert "is in use by another program" in result.out
    assert "would fail: " in result.out


def test_a_library_that_is_absent_or_broken_blocks_only_what_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Settings(home=tmp_path)
    elsewhere = Settings(home=tmp_path, engines=["http://engine:8000"])
    absent = checks._Library("vllm", ("no-such-distribution",), "engine-cpu", "serving")
    assert checks._library(absent, local).verdict == Verdict.FAIL
    assert "tunesmith[engine-cpu]" in checks._library(absent, local).advice
    assert checks._library(absent, elsewhere).verdict == Verdict.WARN
    broken = checks._Library("no_such_module", ("pytest",), "workers", "training")
    found = checks._library(broken, local)
    assert found.verdict == Verdict.FAIL
    assert "No module named 'no_such_module'" in found.found
    works = checks._Library("json", ("pytest",), "workers", "training")
    assert checks._library(works, local).verdict == Verdict.OK


def test_a_database_that_does_not_answer_blocks(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://nobody@127.0.0.1:9/none")
    found = checks._database(settings)
    assert found.verdict == Verdict.FAIL
    assert "--database-url" in found.advice


def test_a_home_below_a_file_blocks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found: Finding = checks._home(Settings(home=tmp_path / "file" / "home"))
    assert found.verdict == Verdict.FAIL
