"""The adapter that a job continues from."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import fetch_adapter
from tunesmith.workers.trainer.adapter import AdapterFiles


def read_parent(storage: Storage, digest: str) -> AdapterFiles:
    """The adapter's verified files.

    Raises:
        ObjectNotFound: it was deleted.
        CorruptAdapter: its files are not those of the digest.
    """
    with tempfile.TemporaryDirectory() as folder:
        return AdapterFiles.read(fetch_adapter(storage, digest, Path(folder)))
