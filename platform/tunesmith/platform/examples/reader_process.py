"""The process that reads a Parquet file or a sheet, and tells `apart` what is in it, line by line.

`python -m tunesmith.platform.examples.reader_process FILE MEMORY_BYTES`
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import Problem, Unreadable
from .example import Example, FileFormat
from .parquet_rows import read_parquet
from .xlsx_rows import read_xlsx


def _xlsx(path: Path) -> tuple[FileFormat, Iterator[Example | Problem]]:
    return FileFormat.PAIR_XLSX, read_xlsx(path)


READERS: dict[str, Callable[[Path], tuple[FileFormat, Iterator[Example | Problem]]]] = {
    ".parquet": read_parquet,
    ".xlsx": _xlsx,
}


def tell(path: Path, out: IO[bytes]) -> None:
    """Write what is in the file, a line for each thing, and a line that says that it was all."""

    def line(kind: str, value: Any) -> None:
        out.write(json.dumps([kind, value], allow_nan=False).encode() + b"\n")

    try:
        form, rows = READERS[path.suffix](path)
        line("format", form)
        for row in rows:
            if isinstance(row, Problem):
                line("problem", [row.line, row.message])
            else:
                line("example", {name: getattr(row, name) for name in Example.__slots__})
    except Unreadable as error:
        line("unreadable", [error.problem.line, error.problem.message])
    else:
        line("end", None)
    out.flush()


if __name__ == "__main__":
    memory = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tell(Path(sys.argv[1]), sys.stdout.buffer)
