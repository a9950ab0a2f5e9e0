"""Load from a process of its own: wrk for as fast as it goes."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .processes import OTHER_CORE, core, cpu_seconds, tool
from .sides import BODY, Side

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer KEY"
wrk.body = [==[BODY]==]
"""
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_COUNT = re.compile(r"(\d+) requests in")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")


@dataclass(frozen=True)
class Run:
    """What one run showed: answered requests a second, and the server's CPU time."""

    requests_per_second: float
    requests: int
    cpu_seconds_per_thousand: float
    core_in_use: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def flat_out(side: Side, folder: Path, *, connections: int, seconds: int) -> Run:
    """Ask as fast as `connections` allow.

    Raises:
        RuntimeError: an answer was not 200.
    """
    script = folder / "post.lua"
    script.write_text(_SCRIPT.replace("KEY", side.key).replace("BODY", json.dumps(BODY)))
    command = [
        *core(OTHER_CORE),
        tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script),
        f"{side.url}/v1/chat/completions",
    ]  # fmt: skip
    before = cpu_seconds(side.process)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = cpu_seconds(side.process) - before
    bad = _BAD.search(done.stdout)
    rate, count = _RATE.search(done.stdout), _COUNT.search(done.stdout)
    if bad or not rate or not count:
        raise RuntimeError(f"{side.url} did not answer all requests:\n{done.stdout}")
    requests = int(count[1])
    return Run(float(rate[1]), requests, used / requests * 1000, used / seconds)
