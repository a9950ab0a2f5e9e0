"""`python -m tunesmith.workers.engine.adapter_helper`: fetches adapters for the engine beside it.

Requests are JSON lines on stdin, each answered by a line on stdout under the same `id`, in any
order. It ends when stdin does, which is when the engine has ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.workers.engine.adapters_here import Adapters, AdaptersHere, Places

_AT_ONCE = 8


def main() -> None:
    """Answer until stdin ends."""
    adapters = AdaptersHere(Places.of(os.environ))
    lock = threading.Lock()

    def handle(request: dict[str, Any]) -> None:
        answer = json.dumps({"id": request["id"], **_answer(adapters, request)})
        with lock:
            print(answer, flush=True)

    with ThreadPoolExecutor(_AT_ONCE, "adapters") as threads:
        for line in sys.stdin:
            threads.submit(handle, json.loads(line))


def _answer(adapters: Adapters, request: dict[str, Any]) -> dict[str, str]:
    try:
        match request["do"]:
            case "fetch":
                return {"path": str(adapters.fetch(request["digest"]))}
            case "forget":
                adapters.forget(request["digest"])
            case "sweep":
                adapters.sweep()
            case unknown:
                raise ValueError(f"{unknown!r} is not known here")
    except TunesmithError as error:
        return {"error": type(error).__name__, "message": error.message}
    except Exception as error:  # noqa: BLE001 - it is the engine's to tell
        return {"error": "", "message": f"{type(error).__name__}: {error}"}
    return {}


if __name__ == "__main__":
    main()
