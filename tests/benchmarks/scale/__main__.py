"""`python -m tests.benchmarks.scale`: what single parts carry, and plans that are made of it.

1. PostgreSQL under dispatchers and gateways. 2. A cohort with jobs that come by chance, measured
and foretold. 3. Plans for 10 to 100,000 tenants (simulated).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.figures import Section, table, write
from tests.benchmarks.machine import ROOT, machine, versions

from tunesmith.platform.capacity.calibration import read_calibration

from . import calibrating, database, growth

FOLDER = ROOT / "build" / "bench"


def _cohort(folder: Path, options: argparse.Namespace) -> Section:
    from . import cohort  # loads torch

    return cohort.measure(folder, quick=options.quick)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write build/bench/scale.json and, of a whole run, calibration.toml."""
    options = _parser().parse_args(arguments)
    docs = ROOT / "docs" if options.plots else None
    sections: dict[int, Callable[[Path], Section]] = {
        1: lambda folder: database.measure(
            folder, docs, seconds=options.seconds, quick=options.quick
        ),
        2: lambda folder: _cohort(folder, options),
        3: lambda _: growth.measure(
            read_calibration(options.calibration), docs, quick=options.quick
        ),
    }
    made: list[Section] = []
    context = {
        "name": "scale",
        "machine": machine(),
        "versions": versions(),
        "options": {key: str(value) for key, value in vars(options).items()},
    }
    for number, measure in sections.items():
        if options.only and number not in options.only:
            continue
        with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
            section = measure(Path(folder))
        print(table(section), end="\n\n", flush=True)
        made.append(section)
    whole = not options.only and not options.quick
    path = options.output / ("scale.json" if whole else "scale.partial.json")
    write(path, made, context)
    print(f"figures: {path}")
    if whole:
        own = calibrating.write_calibration(options.output, options.hardware)
        print(f"for tunesmith plan --calibration: {own}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scale", description="What single parts carry."
    )
    parser.add_argument("--only", type=int, action="append", help="a section's number")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run; its figures mean nothing"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of a run of section 1")
    parser.add_argument("--calibration", type=Path, help="figures of section 3; ours otherwise")
    parser.add_argument("--plots", action="store_true", help="draw docs/scale-*.svg anew")
    parser.add_argument("--hardware", help="name of the GPU that build/bench/gpu.json is of")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the figures")
    return parser


if __name__ == "__main__":
    main()
