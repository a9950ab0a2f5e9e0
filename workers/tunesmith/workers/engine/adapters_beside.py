"""The engine's adapters, fetched by a process beside it that has libraries of its own.

In vLLM's own image, what storage needs may be there in another version: s3fs's parts fit each
other in few combinations, and vLLM's must not be replaced. So neither sees the other's.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.storage import CorruptAdapter, ObjectNotFound, StorageUnavailable
from tunesmith.platform.storage.errors import InvalidKey, StorageFull, StorageMisconfigured

log = logging.getLogger("vllm.tunesmith")

_ERRORS: dict[str, type[TunesmithError]] = {
    error.__name__: error
    for error in (
        CorruptAdapter,
        InvalidKey,
        ObjectNotFound,
        StorageFull,
        StorageMisconfigured,
        StorageUnavailable,
    )
}


class AdaptersBeside:
    """See `Adapters`. Its process starts with the first request, and anew when it has died.

    Args:
        root: folder of the package `tunesmith`.
        dependencies: folder of what it needs.
    """

    def __init__(self, root: Path, dependencies: Path) -> None:
        self._path = f"{root}{os.pathsep}{dependencies}"
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._process: subprocess.Popen[str] | None = None
        self._asked: dict[int, Future[dict[str, Any]]] = {}

    def fetch(self, digest: str) -> Path:
        """See `Adapters.fetch`."""
        return Path(self._ask({"do": "fetch", "digest": digest})["path"])

    def forget(self, digest: str) -> None:
        """See `Adapters.forget`."""
        self._ask({"do": "forget", "digest": digest})

    def sweep(self) -> None:
        """See `Adapters.sweep`."""
        self._ask({"do": "sweep"})

    def close(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            process = self._running()
            number = next(self._numbers)
            self._asked[number] = answer
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps({"id": number, **request}) + "\n")
                process.stdin.flush()
            except OSError as error:
                del self._asked[number]
                raise StorageUnavailable(f"The helper for adapters is gone: {error}") from error
        result = answer.result()
        if "error" in result:
            kind = _ERRORS.get(result["error"], StorageUnavailable)
            raise kind(result["message"])
        return result

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            # -S: nothing of the interpreter's own site-packages.
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-m", "tunesmith.workers.engine.adapter_helper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": self._path},
            )
            threading.Thread(
                target=self._read, args=(self._process,), name="adapter helper", daemon=True
            ).start()
        return self._process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            with self._lock:
                asked = self._asked.pop(answer.pop("id"), None)
            if asked is not None:
                asked.set_result(answer)
        code = process.wait()
        with self._lock:
            left = dict(self._asked) if self._process in (process, None) else {}
            for number in left:
                del self._asked[number]
        if left:
            log.error("the helper for adapters ended with %s", code)
        for asked in left.values():
            message = f"The helper for adapters ended with {code}: see the engine's log."
            asked.set_result({"error": "", "message": message})
