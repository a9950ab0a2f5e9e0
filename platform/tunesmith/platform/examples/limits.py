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
