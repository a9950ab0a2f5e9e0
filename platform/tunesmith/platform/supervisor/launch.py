"""Starting a part: in a session of its own, marked, and never outliving its parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .descendants import PART_MARKER, RUN_MARKER

# Between fork and exec only async-signal-safe calls are allowed in a process with threads, so
# this runs in a fresh interpreter that then becomes the part. The kernel kills the part when the
# thread that started it ends (prctl(2), PR_SET_PDEATHSIG = 1).
_BECOME = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the supervisor is gone")
os.execvpe(sys.argv[2], sys.argv[2:], os.environ)
"""


def spawn(
    name: str,
    command: Sequence[str],
    *,
    run_id: str,
    environment: Mapping[str, str],
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start `command` as part `name`; what it prints is appended to `log`.

    The caller's thread must live as long as the part may.

    Raises:
        OSError: the log cannot be written, or no process can be started.
    """
    marked = {
        **environment,
        RUN_MARKER: run_id,
        PART_MARKER: name,
        "PYTHONUNBUFFERED": "1",
        # Else the setproctitle package overwrites the markers with the title.
        "SPT_NOENV": "1",
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), *command],
            env=marked,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def rotate(log: Path, *, keep: int = 3) -> None:
    """Number the logs of earlier starts: `x.log` becomes `x.1.log`, and `x.{keep}.log` goes."""
    names = [log, *(log.with_suffix(f".{number}.log") for number in range(1, keep + 1))]
    for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
        if newer.exists():
            newer.replace(older)


def last_line(log: Path, *, reach: int = 4096) -> str:
    """The last line with text in `log`; empty when there is none."""
    lines = tail(log, 1, reach=reach)
    return lines[0].strip() if lines else ""


def tail(log: Path, count: int, *, reach: int = 65536) -> list[str]:
    """The last `count` lines with text in the last `reach` bytes of `log`."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - reach))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
