"""Bounds on what an examples file may hold."""

from __future__ import annotations

from typing import Final

MINIMUM_EXAMPLES: Final = 10
"""Fewest examples that a job accepts (checked when the job is created, not at upload)."""

MAXIMUM_EXAMPLE_BYTES: Final = 8 * 1024 * 1024
"""Longest line of JSONL, and longest row of CSV, in bytes: some two million tokens, more than any
base's context. It bounds memory: a file is read one example at a time."""

CHUNK_BYTES: Final = 1024 * 1024
"""Bytes read from the stream at a time."""

PROBLEMS_SHOWN: Final = 10
"""Problems kept in full; the rest are only counted."""

MAXIMUM_UNPACKED_BYTES: Final = 512 * 1024 * 1024
"""Most that an .xlsx file, or one row group of a Parquet file, may unpack to: these are in memory
as a whole, and a few kilobytes can be made to unpack to any size."""

MAXIMUM_TEXT_BYTES: Final = 4 * 1024**3
"""Most text that all rows of a Parquet file may hold together: it is written out as JSONL."""

MAXIMUM_CELLS: Final = 10_000_000
"""Most cells of a sheet, empty ones before its last row and column included, and most rows of one
row group of a Parquet file: each takes 32 bytes of memory, and no more than two on disk."""
