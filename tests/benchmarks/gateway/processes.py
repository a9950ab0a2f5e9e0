"""Processes of a benchmark: started on a core of their own, timed, and ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx
import psutil
from tests.benchmarks.machine import ROOT

SERVER_CORE, OTHER_CORE = 0, -1
"""What is measured has the first core; engine and load share the last."""


class ToolMissing(Exception):
    """A program that the benchmark needs is not installed; the message says how to get it."""


def tool(name: str) -> str:
    """The path of a program from Debian.

    Raises:
        ToolMissing: it is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise ToolMissing(f"{name} is needed: apt-get install {name}")
    return found


def core(number: int) -> list[str]:
    """Words before a command that keep it on one core; none where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[number])] if len(cores) > 1 else []


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    on: int | None,
    environment: Mapping[str, str] | None = None,
    ready: str,
    seconds: float = 120,
) -> Iterator[psutil.Process]:
    """A process that answers at the URL `ready`; ended with its children at the block's end.

    Args:
        on: number of the core that it is kept on; None: any.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*(core(on) if on is not None else ()), *map(str, command)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        _wait(process, ready, seconds, log)
        yield psutil.Process(process.pid)
    finally:
        everyone = _tree(process.pid)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
        for child in everyone:
            if child.is_running():
                child.kill()


def answer_of(command: Sequence[str | Path], question: object = None) -> Any:
    """The JSON that a command prints, on the core beside the one that is measured.

    Args:
        question: what it reads as JSON.

    Raises:
        CalledProcessError: it failed.
    """
    # A file: an unbuffered write (PYTHONUNBUFFERED) to a pipe may end after its first 64 KiB.
    with TemporaryFile("w+") as answer:
        subprocess.run(
            [*core(OTHER_CORE), *map(str, command)],
            input=json.dumps(question),
            stdout=answer,
            text=True,
            check=True,
            cwd=ROOT,
        )
        answer.seek(0)
        return json.load(answer)


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time that a process and its living children have used, user and system."""
    total = 0.0
    for one in _tree(process.pid):
        times = one.cpu_times()
        total += times.user + times.system
    return total


def resident_mib(process: psutil.Process) -> float:
    """Memory that a process and its children hold, in MiB."""
    return float(sum(one.memory_info().rss for one in _tree(process.pid))) / 2**20


def _tree(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _wait(process: subprocess.Popen[bytes], url: str, seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended: {log.read_text()[-2000:]}")
        try:
            if httpx.get(url, timeout=2).status_code < 500:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer: {log.read_text()[-2000:]}")
