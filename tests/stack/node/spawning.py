"""Starting `container_process.py` and talking to it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

_PROGRAM = Path(__file__).with_name("container_process.py")
# A fork copies open descriptors for a moment: one at a time, so that none keeps another's alive.
_one_at_a_time = threading.Lock()


class Held:
    """A process that lives until it is closed, at the latest until this process ends."""

    def __init__(self, orders: dict[str, Any], output: IO[bytes] | int) -> None:
        reader, writer = os.pipe()
        with _one_at_a_time:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), str(writer)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writer,),
                start_new_session=True,
            )
        os.close(writer)
        self._reports = os.fdopen(reader, "r", encoding="utf-8")
        self._handle = os.pidfd_open(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(orders) + "\n").encode())
        self._process.stdin.flush()
        line = self._reports.readline()
        if not line:
            self.close()
            raise OSError("the container's process ended before it began; see its log")
        self.pid = int(json.loads(line)["pid"])

    def wait(self, seconds: float | None) -> int | None:
        """Its exit code, None when it still runs after `seconds`."""
        if self._process.returncode is None:
            poller = select.poll()
            poller.register(self._handle, select.POLLIN)
            if not poller.poll(None if seconds is None else max(0.0, seconds) * 1000):
                return None
        return self._process.wait()

    def signal(self, number: int) -> None:
        """To process 1 of the container alone, as a container runtime sends it."""
        if self._process.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def close(self) -> None:
        """Kill it and all that it started."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()


def hold_namespaces(hostname: str) -> Held:
    """Namespaces for network, host name and IPC; they are gone when it is closed."""
    return Held({"hold": hostname}, subprocess.DEVNULL)
