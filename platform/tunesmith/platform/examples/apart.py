"""Parquet files and sheets, read in a process of their own: `reader_process`.

Their libraries are compiled code that a made-up file can end: a number in it that asks for an
exabyte aborts the process, whatever Python would catch. That must be a small one with the file
alone, which has no secret, and a bound on its memory.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from .errors import Problem, Unreadable
from .example import Example, FileFormat

Row = Example | Problem

_MOST_BYTES: Final = 2 * 1024**3
_LEAST_BYTES: Final = 384 * 1024**2  # the libraries themselves, and files of ordinary sizes
_SHARE: Final = 3  # of the container's memory: two are read at once, beside the gateway
_CGROUP: Final = Path("/sys/fs/cgroup/memory.max")

_PROCESS = [sys.executable, "-m", f"{__package__}.reader_process"]
_SILENT_SECONDS = 60.0
"""Longest wait for the next rows: a library that hangs must not keep its caller."""

_PASSED_ON: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR")


class _AllTold(Exception):
    """The process said that there is no more."""


def read_apart(path: Path) -> tuple[FileFormat, Generator[Row, None, None]]:
    """The format of a file, by its name's ending, and its rows as examples or problems.

    Raises:
        Unreadable: now or while rows are read: nothing after this point can be trusted.
    """
    told = _told(path, memory_bytes())
    form = next(told)
    assert isinstance(form, FileFormat)
    return form, _rows(told)


def memory_bytes() -> int:
    """Most data that the process may have: by the memory of the container, where it is bounded."""
    with suppress(OSError, ValueError):  # "max", or no cgroup of version 2
        return min(_MOST_BYTES, max(_LEAST_BYTES, int(_CGROUP.read_text()) // _SHARE))
    return _MOST_BYTES


def _rows(told: Generator[FileFormat | Row, None, None]) -> Generator[Row, None, None]:
    with closing(told):
        for row in told:
            assert not isinstance(row, FileFormat)
            yield row


def _told(path: Path, memory: int) -> Generator[FileFormat | Row, None, None]:
    """The format, then all rows."""
    process = subprocess.Popen(
        [*_PROCESS, str(path), str(memory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        | {"POLARS_MAX_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        yield from _read(process.stdout.fileno())
    except _AllTold:
        return
    finally:
        process.kill()  # whoever reads may have had enough
        process.stdout.close()
        process.wait()
    raise Unreadable(
        Problem(
            None,
            "the file is damaged: the library that reads it ended, stood still, or needed more than"
            f" {memory // 1024**2:,} MiB of memory. Write the file again, with smaller row groups"
            " if it has any, or save it as JSONL.",
        )
    )


def _read(pipe: int) -> Generator[FileFormat | Row, None, None]:
    """What the process writes; it ends without a word where the process did, or hangs."""
    for line in _lines(pipe):
        kind, value = json.loads(line)
        if kind == "format":
            yield FileFormat(value)
        elif kind == "example":
            yield Example(**value)
        elif kind == "problem":
            yield Problem(*value)
        elif kind == "unreadable":
            raise Unreadable(Problem(*value))
        else:
            raise _AllTold


def _lines(pipe: int) -> Generator[bytes, None, None]:
    """Whole lines, until the pipe ends or stays silent."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    parts: list[bytes] = []  # of a line that is not all here: rows may have megabytes
    while waiting.poll(_SILENT_SECONDS * 1000) and (data := os.read(pipe, 1024 * 1024)):
        first, *more = data.split(b"\n")
        parts.append(first)
        if more:
            yield b"".join(parts)
            yield from more[:-1]
            parts = [more[-1]]
