"""`make bench-train`: the cohort trainer beside TRL, in one run.

`python -m tests.benchmarks.train [--only 1 2] [--repeats N] [--epochs N] [--quick]`
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import growth, journey, memory, one_job, sixteen_jobs
from .figures import Section, table, write
from .machine import ROOT, machine, versions
from .plan import RunFailed
from .sides import PEER_LOCK, Bench, PeerUnavailable, peer_environment

SECTIONS: dict[int, Callable[[Bench], Section]] = {
    1: one_job.measure,
    2: sixteen_jobs.measure,
    3: memory.measure,
    4: journey.measure,
    5: growth.measure,
}
FOLDER = ROOT / "build" / "bench"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 whether or not the targets are met, 1 when it could not measure."""
    options = _parser().parse_args(arguments)
    context = {
        "name": "train",
        "command": " ".join(["python -m tests.benchmarks.train", *(arguments or sys.argv[1:])]),
        "machine": machine(),
        "versions": versions() | {"peer_lock": PEER_LOCK.read_text().count("==")},
        "repeats": options.repeats,
        "quick": options.quick,
    }
    began = time.monotonic()
    sections: list[Section] = []
    target = _output(options)
    try:
        bench = Bench(
            folder=FOLDER / "train",
            peer=peer_environment(FOLDER / "trl-env", _say),
            repeats=options.repeats,
            epochs=options.epochs,
            threads=options.threads,
            quick=options.quick,
            say=_say,
        )
        for number in options.only:
            _say(f"bench: section {number} ...")
            started = time.monotonic()
            section = SECTIONS[number](bench)
            section.runs["seconds"] = [round(time.monotonic() - started, 1)]
            sections.append(section)
            # After every section: a later one that fails takes nothing with it.
            write(target, sections, context | {"seconds": round(time.monotonic() - began, 1)})
            print(f"\n{table(section)}\n", flush=True)
    except (RunFailed, PeerUnavailable) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.quick:
        print("A smoke run (--quick): the figures mean nothing.")
    print(f"{target.relative_to(ROOT)} holds every run's raw figures.")
    return 0


def _output(options: argparse.Namespace) -> Path:
    """A run of some sections, or a quick one, doesn't overwrite the figures of a whole one."""
    whole = options.only == list(SECTIONS) and not options.quick
    return FOLDER / ("train.json" if whole else "train.partial.json")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.train",
        description="The cohort trainer beside TRL: ratios first, medians of alternating runs.",
    )
    parser.add_argument(
        "--only", type=int, nargs="+", choices=list(SECTIONS), default=list(SECTIONS),
        metavar="N", help="sections: 1 one job, 2 sixteen jobs, 3 memory, 4 platform, 5 growth",
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=5, help="alternating rounds")
    parser.add_argument("--epochs", type=int, help="of sections 1 and 2, instead of 1 and 2")
    parser.add_argument("--threads", type=int, default=2, help="of every process")
    parser.add_argument("--quick", action="store_true", help="a smoke run on little data")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
