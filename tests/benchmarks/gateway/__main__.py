"""`python -m tests.benchmarks.gateway`: the gateway beside LiteLLM and nginx, in one run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks.figures import Section, table, write
from tests.benchmarks.machine import ROOT, machine, versions

from . import growth, latency, throughput


def _adapters(folder: Path, repeats: int) -> Section:
    from . import adapters  # loads torch

    return adapters.measure(folder, repeats=repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, action="append", help="a section's number")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6, help="of a run")
    options = parser.parse_args()
    sections: dict[int, Callable[[Path], Section]] = {
        1: partial(throughput.measure, repeats=options.repeats, seconds=options.seconds),
        2: partial(latency.measure, repeats=options.repeats, seconds=options.seconds),
        3: partial(latency.measure_streams, repeats=options.repeats),
        4: partial(_adapters, repeats=options.repeats),
        5: growth.measure,
    }
    made: list[Section] = []
    context = {"machine": machine(), "versions": versions(), "options": vars(options)}
    for number, measure in sections.items():
        if options.only and number not in options.only:
            continue
        with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
            section = measure(Path(folder))
        print(table(section), end="\n\n", flush=True)
        made.append(section)
    name = "gateway.partial.json" if options.only else "gateway.json"
    path = ROOT / "build" / "bench" / name
    write(path, made, context)
    print(f"figures: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
