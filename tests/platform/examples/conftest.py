"""Parquet files and sheets are read in this process here: one of its own takes a second to start.

`test_apart.py` has that one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tunesmith.platform.examples import reading
from tunesmith.platform.examples.reader_process import READERS


@pytest.fixture(scope="module", autouse=True)
def in_this_process(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] != "test_apart":
            patch.setattr(reading, "read_apart", lambda path: READERS[path.suffix](path))
        yield
