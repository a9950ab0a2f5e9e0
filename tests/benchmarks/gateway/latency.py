"""What the gateway adds to a request's time, and to each chunk of a stream."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Figure, Section, alternate, percentile

from .load import flat_out
from .processes import OTHER_CORE, answer_of, cpu_seconds, free_port, resident_mib, running
from .sides import BODY, Side, gateway, stub_engine

P50_MS, P99_MS = 1.0, 5.0
CHUNK_US = 50.0
STREAMS = 500
RATE = 50
"""New streams a second where a chunk's cost is measured: half of what one core takes."""
GROWTH_MIB = 5.0


def measure(folder: Path, *, repeats: int, seconds: int) -> Section:
    """Added latency at half of the gateway's capacity, on the same engine."""
    with ExitStack() as parts:
        engine = parts.enter_context(stub_engine(folder))
        ours = parts.enter_context(gateway(folder, engine.url))
        flat_out(ours, folder, connections=32, seconds=2)
        capacity = flat_out(ours, folder, connections=32, seconds=seconds).requests_per_second
        rate = capacity / 2
        runs = alternate(
            repeats,
            {
                name: partial(_paced, side, rate, int(rate * seconds))
                for name, side in (("engine alone", engine), ("gateway", ours))
            },
        )
    figures = []
    added = {}
    for share, target in ((0.5, P50_MS), (0.99, P99_MS)):
        times = {
            name: [1000 * percentile(run["latencies"], share) for run in found]
            for name, found in runs.items()
        }
        added[share] = [a - b for a, b in zip(times["gateway"], times["engine alone"], strict=True)]
        name = f"p{share * 100:.0f}"
        figures.append(
            Figure.of(
                f"added latency, {name}", added[share], "ms", target=target, higher_is_better=False
            )
        )
        figures += [Figure.of(f"{side}: {name}", found, "ms") for side, found in times.items()]
    return Section(
        2,
        "added latency at half of the capacity",
        figures,
        held_equal={"requests/s": round(rate), "seconds a run": seconds},
        method=["Requests begin at fixed times; a latency counts from the time that was due."],
        runs={
            name: [{"seconds": run["seconds"], "requests": len(run["latencies"])} for run in found]
            for name, found in runs.items()
        },
    )


def measure_streams(folder: Path, *, repeats: int) -> Section:
    """CPU time and delay that a chunk costs, and memory while 500 streams are held."""
    chunks, apart = 100, 100
    with ExitStack() as parts:
        fast = parts.enter_context(_streaming(folder / "fast.log", chunks, 1))
        slow = parts.enter_context(_streaming(folder / "slow.log", chunks, apart))
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        over_fast = parts.enter_context(gateway(folder / "a", fast.url))
        over_slow = parts.enter_context(gateway(folder / "b", slow.url))
        _paced(over_fast, 50, 50, stream=True)
        runs = alternate(
            repeats,
            {
                "engine alone": partial(_paced, fast, RATE, 10 * RATE, stream=True),
                "gateway": partial(_chunk_cost, over_fast),
            },
        )
        held = _held(over_slow, chunks * apart / 1000)
    per_chunk = [1e6 * run["cpu"] / run["chunks"] for run in runs["gateway"]]
    firsts = {
        name: [1000 * percentile(run["firsts"], 0.5) for run in found]
        for name, found in runs.items()
    }
    return Section(
        3,
        "streams",
        [
            Figure.of(
                "CPU time of a chunk in the gateway",
                per_chunk,
                "us",
                target=CHUNK_US,
                higher_is_better=False,
                note="all of the gateway's time divided by the chunks: requests' own cost included",
            ),
            Figure.of(
                "added time to the first chunk, p50",
                [a - b for a, b in zip(firsts["gateway"], firsts["engine alone"], strict=True)],
                "ms",
            ),
            Figure(
                f"memory from the first to the last second of {STREAMS} streams",
                held["growth_mib"],
                "MiB",
                target=GROWTH_MIB,
                higher_is_better=False,
            ),
            Figure(f"memory with {STREAMS} streams", held["with_mib"], "MiB"),
            Figure("memory before them", held["before_mib"], "MiB"),
            Figure("chunks that came", held["chunks"] / (STREAMS * chunks), "x", target=1.0),
        ],
        held_equal={"chunks a stream": chunks},
        method=[
            f"Chunks 1 ms apart on {RATE} new streams a second; then {STREAMS} streams at once with"
            f" a chunk every {apart} ms.",
        ],
        runs={"held": [held]},
    )


def _paced(side: Side, rate: float, requests: int, _: int = 0, *, stream: bool = False) -> Any:
    plan = {
        "port": int(side.url.rsplit(":", 1)[1]),
        "key": side.key,
        "rate": rate,
        "requests": requests,
        "body": BODY | ({"stream": True} if stream else {}),
    }
    result = answer_of([sys.executable, Path(__file__).with_name("paced.py")], plan)
    if result["bad"]:
        raise RuntimeError(
            f"{len(result['bad'])} of {requests} requests to {side.url} failed: {result['bad'][0]}"
        )
    return result


def _chunk_cost(side: Side, _: int) -> Any:
    before = cpu_seconds(side.process)
    result = _paced(side, RATE, 10 * RATE, stream=True)
    return result | {"cpu": cpu_seconds(side.process) - before}


def _held(side: Side, seconds: float) -> dict[str, float]:
    before = resident_mib(side.process)
    samples: list[tuple[float, float]] = []
    over = threading.Event()
    started = time.monotonic()

    def sample() -> None:
        while not over.wait(0.5):
            samples.append((time.monotonic() - started, resident_mib(side.process)))

    thread = threading.Thread(target=sample)
    thread.start()
    result = _paced(side, STREAMS / 2, STREAMS, stream=True)
    over.set()
    thread.join()
    # All are there after two seconds, and the first ends after `seconds`.
    steady = [memory for at, memory in samples if 3.5 <= at <= seconds]
    return {
        "before_mib": before,
        "with_mib": steady[-1],
        "growth_mib": steady[-1] - steady[0],
        "chunks": result["chunks"],
        "seconds": result["seconds"],
    }


@contextmanager
def _streaming(log: Path, chunks: int, milliseconds: int) -> Iterator[Side]:
    port = free_port()
    with running(
        [
            sys.executable,
            Path(__file__).with_name("stub_stream.py"),
            *map(str, (port, chunks, milliseconds)),
        ],
        log=log,
        on=OTHER_CORE,
        ready=f"http://127.0.0.1:{port}/health",
    ) as process:
        yield Side(f"http://127.0.0.1:{port}", "none", process)
