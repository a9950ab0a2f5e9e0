"""Processes that a platform started, also those that their parents left behind.

vLLM and Ray start processes of their own, in their own process groups, which outlive a parent
that was killed. They are found by an environment marker that every process inherits, by the
session that the supervisor gave to each part, and by descent.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping

import psutil

RUN_MARKER = "TUNESMITH_RUN_ID"
PART_MARKER = "TUNESMITH_PART"
_PR_SET_CHILD_SUBREAPER = 36
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)

Finder = Callable[[], Iterable[psutil.Process]]


def become_subreaper() -> None:
    """Adopt the orphans among this process's descendants, so that descent finds them too."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def find(
    run_id: str, *, part: str | None = None, roots: Mapping[int, float] | None = None
) -> list[psutil.Process]:
    """Living processes of a run, or of one of its parts.

    Args:
        roots: start times (seconds since the epoch) of the run's own children, by pid: what lives
            in their sessions or descends from them belongs to the run as well.
    """
    mine = os.getpid()
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid == mine:
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if _is_marked(process, run_id, part) or _is_rooted(process, roots or {}):
                found[process.pid] = process
        except _GONE:
            continue
    for process in list(found.values()):
        try:
            for child in process.children(recursive=True):
                if child.pid != mine:
                    found.setdefault(child.pid, child)
        except _GONE:
            continue
    return list(found.values())


def _is_marked(process: psutil.Process, run_id: str, part: str | None) -> bool:
    try:
        environment = process.environ()
    except (*_GONE, OSError):
        return False
    if environment.get(RUN_MARKER) != run_id:
        return False
    return part is None or environment.get(PART_MARKER) == part


def _is_rooted(process: psutil.Process, roots: Mapping[int, float]) -> bool:
    if not roots:
        return False
    try:
        session = os.getsid(process.pid)
    except OSError:
        return False
    # Start times are derived from the wall clock, which may have been set meanwhile.
    return session in roots and process.create_time() >= roots[session] - 1.0


def start_time(pid: int) -> float:
    """When process `pid` started, in seconds since the epoch; 0 when there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except _GONE:
        return 0.0


def kill_all(finder: Finder, *, within: float = 3.0) -> int:
    """Kill what `finder` finds until it finds nothing, for at most `within` seconds.

    Returns:
        How many processes were killed.
    """
    killed: set[int] = set()
    end = time.monotonic() + within
    while victims := [process for process in finder() if process.is_running()]:
        for process in victims:
            try:
                process.kill()
            except _GONE:
                continue
            killed.add(process.pid)
        psutil.wait_procs(victims, timeout=0.5)
        if time.monotonic() > end:
            break
    return len(killed)


def reap_adopted(own: Iterable[int]) -> None:
    """Collect the exit codes of adopted orphans; `own` are the children that others wait for."""
    waited_for = set(own)
    for child in psutil.Process().children():
        try:
            if child.pid not in waited_for and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
        except (*_GONE, ChildProcessError):
            continue
