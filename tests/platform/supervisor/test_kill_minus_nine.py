"""`kill -9` of the supervisor leaves no process, also not those that left its process groups."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tunesmith.platform.supervisor.home import Home

_SUPERVISE = """
import asyncio, os, sys
from pathlib import Path
from tunesmith.platform.supervisor.home import Home
from tunesmith.platform.supervisor.part import Part
from tunesmith.platform.supervisor.supervisor import Supervisor
home = Home(Path(sys.argv[1])); home.prepare()
part = Part("engine", (sys.executable, sys.argv[2]), dict(os.environ))
asyncio.run(Supervisor([part], home, run_id=sys.argv[3]).run(asyncio.Event()))
"""
_PART = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def _wait_for(path: Path) -> list[int]:
    while not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.02)
    return [int(word) for word in path.read_text().split()]


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text(_PART)
    home = Home(tmp_path / "home")
    run_id = f"run-{os.getpid()}"
    command = [sys.executable, "-c", _SUPERVISE, str(home.path), str(tmp_path / "part.py"), run_id]
    supervisor = subprocess.Popen(command)
    pids = _wait_for(home.logs / "engine.log")
    warden = [
        child.pid
        for child in psutil.Process(supervisor.pid).children()
        if "tunesmith.platform.supervisor.warden" in child.cmdline()
    ]
    assert len(pids) == 2
    assert len(warden) == 1
    supervisor.kill()
    supervisor.wait()
    while any(map(_lives, [*pids, *warden])):  # the test's timeout is the bound
        time.sleep(0.02)
    assert home.record_file.exists()  # what the next start reads
