"""A command finds the only platform that its user runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tunesmith.platform.cli.connection import find_url, home_of
from tunesmith.platform.supervisor.home import Home, write_json
from tunesmith.platform.supervisor.running import announce, running_homes, withdraw


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TUNESMITH_HOME", "TUNESMITH_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def started(path: Path, pid: int | None = None) -> Home:
    home = Home(path)
    home.prepare()
    write_json(home.platform_file, {"url": f"http://127.0.0.1/{path.name}", "pid": pid})
    return home


def test_the_only_platform_is_meant(tmp_path: Path) -> None:
    home = started(tmp_path / "somewhere", os.getpid())
    assert running_homes() == []
    announce(home)
    assert home_of(None).path == home.path
    assert find_url(None, home_of(None)) == "http://127.0.0.1/somewhere"
    withdraw()
    assert home_of(None).path == tmp_path / ".tunesmith"


def test_a_named_home_wins_and_so_does_a_platform_on_the_default_one(tmp_path: Path) -> None:
    announce(started(tmp_path / "somewhere", os.getpid()))
    assert home_of(tmp_path / "named").path == tmp_path / "named"
    started(tmp_path / ".tunesmith", 1)
    assert home_of(None).path == tmp_path / ".tunesmith"


def test_notes_of_dead_processes_and_of_restarted_homes_do_not_count(tmp_path: Path) -> None:
    announce(started(tmp_path / "somewhere", 1))  # another process runs there by now
    assert running_homes() == []
    folder = tmp_path / "tmp" / f"tunesmith-{os.getuid()}"
    write_json(folder / "4194305.json", {"home": str(tmp_path / "somewhere")})
    assert running_homes() == []


def test_a_folder_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    announce(started(tmp_path / "somewhere", os.getpid()))
    (tmp_path / "tmp" / f"tunesmith-{os.getuid()}").chmod(0o777)
    assert running_homes() == []
