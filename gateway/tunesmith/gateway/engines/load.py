"""What an engine reports of its load, in Prometheus' text format."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import aiohttp

from .connection import EngineSession
from .engine import Load

_LOOK = aiohttp.ClientTimeout(total=3.0, sock_connect=1.0)
_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USAGE = "vllm:kv_cache_usage_perc"
"""Names of vLLM 0.32 (vllm/v1/metrics/loggers.py). Each has a line per data-parallel rank."""
_STARTED = "process_start_time_seconds "
"""Of Prometheus' client; an engine with several API servers does not have it."""


async def ask_load(session: EngineSession, url: str) -> Load | None:
    """The load of the engine at `url`; None where it does not tell."""
    try:
        async with session.get(url, "/metrics", timeout=_LOOK) as response:
            if response.status != HTTPStatus.OK:
                return None
            return parse_load(await response.text())
    except (TimeoutError, aiohttp.ClientError, UnicodeDecodeError):
        return None  # whether it is well is another question, asked elsewhere


def parse_load(text: str) -> Load | None:
    """The load in a page of metrics; None where it is not there.

    Requests are summed over the ranks; the KV cache counts as full as the fullest one.
    """
    found: dict[str, list[float]] = {_RUNNING: [], _WAITING: [], _KV_USAGE: []}
    started_at: float | None = None
    for line in text.splitlines():
        if not line.startswith("vllm:"):
            if line.startswith(_STARTED):
                with suppress(ValueError):
                    started_at = float(line.removeprefix(_STARTED))
            continue
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if name in found:
            with suppress(ValueError):
                # After the labels a value, and perhaps a time, which vLLM does not write.
                found[name].append(float(rest.rpartition("}")[2].split()[0]))
    if not found[_RUNNING]:
        return None
    return Load(
        running=int(sum(found[_RUNNING])),
        waiting=int(sum(found[_WAITING])),
        kv_usage=max(found[_KV_USAGE], default=0.0),
        started_at=started_at,
    )
