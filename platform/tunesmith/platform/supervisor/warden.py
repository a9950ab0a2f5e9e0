"""The warden: a small process that kills what is left of a run when its supervisor is gone.

It reads its standard input, which ends when the supervisor ends, however that happens: also on
`kill -9`, when nobody else is left to stop the engine's and Ray's own children. Lines on its
input name the parts' processes: `PID START_TIME`, and `PID gone` when one has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TextIO

from .descendants import find, kill_all


class Warden:
    """The supervisor's end: tells the warden what to watch, and lets it finish."""

    def __init__(self, run_id: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, run_id],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def watch(self, pid: int, started: float) -> None:
        """What lives in the session of process `pid` belongs to the run."""
        self._tell(f"{pid} {started}")

    def forget(self, pid: int) -> None:
        """Process `pid` is gone, with its session: the number may be another program's soon."""
        self._tell(f"{pid} gone")

    def _tell(self, line: str) -> None:
        # Someone may have killed it: the markers and the next start still find leftovers.
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()

    def dismiss(self) -> None:
        """Let it make sure that nothing is left, and end."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def guard(run_id: str, lines: TextIO) -> None:
    """Read until the end of `lines`, then kill every process of the run."""
    roots: dict[int, float] = {}
    for line in lines:
        pid, started = line.split()
        if started == "gone":
            roots.pop(int(pid), None)
        else:
            roots[int(pid)] = float(started)
    kill_all(lambda: find(run_id, roots=roots), within=4.0)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    guard(sys.argv[1], sys.stdin)
