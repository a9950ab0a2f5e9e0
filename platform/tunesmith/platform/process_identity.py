"""Names of processes by which another process on the same machine knows whether they live."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_HOST_LENGTH = 128


def own() -> str:
    """This process: host and number for people, then what makes the number unmistakable."""
    place = _place() or "?"
    return f"{socket.gethostname()[:_HOST_LENGTH]} {os.getpid()} {_started(os.getpid())} {place}"


def is_dead(name: str) -> bool:
    """Whether the process of this name is certainly gone.

    False for processes of other machines and containers, of which nothing can be known.
    """
    parts = name.split(" ")
    if len(parts) != 4 or not parts[1].isdigit():
        return False
    if parts[0] != socket.gethostname()[:_HOST_LENGTH] or parts[3] != _place():
        return False
    return _started(int(parts[1])) != parts[2]


def _place() -> str | None:
    """The kernel's run and the namespace of process numbers: within both, a number is one process.

    None where the system does not tell.
    """
    try:
        return f"{_BOOT.read_text().strip()}/{_NAMESPACE.readlink().name}"
    except OSError:
        return None


def _started(number: int) -> str | None:
    """When the process was started, in the kernel's ticks since its boot; None if it is gone.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, fields 3 and 22; the name before
    them may hold anything.
    """
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
