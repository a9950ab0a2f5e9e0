"""The data report on 100,000 generated examples with known defects: time, memory, what it finds.

`python -m tests.benchmarks.data_report [--rows 100000] [--each 1000]`. The check runs in a process
of its own, whose peak resident memory is taken, on two cores where the machine has more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .figures import Figure, Section, table, write
from .machine import ROOT, machine, versions
from .planted import Planted, planted, write_chats

SECONDS, MEBIBYTES = 60, 1024
RECALL, FALSE_ALARMS = 0.95, 0.02
CHECKS = ("exact_duplicates", "near_duplicates", "contradictions", "label_errors", "outliers")


def main() -> None:
    """Measure, print the table and write build/bench/data-report.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=1_000)
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "ACCOUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(Path(options.worker[0]), Path(options.worker[1]))
        return
    made = planted(options.rows, options.each)
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        write_chats(Path(folder) / "training.jsonl", made.rows)
        write_chats(Path(folder) / "validation.jsonl", made.validation)
        account = _measured(Path(folder))
    section = _section(made, account, options.rows, options.each)
    print(table(section))
    write(
        ROOT / "build/bench/data-report.json",
        [section],
        {"machine": machine(), "versions": versions()},
    )


def _measured(folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.data_report"]
    account = folder / "account.json"
    subprocess.run([*command, "--worker", str(folder), str(account)], check=True, cwd=ROOT)
    content: dict[str, Any] = json.loads(account.read_text())
    return content


def _work(folder: Path, account: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    started, cpu = time.perf_counter(), time.process_time()

    from tunesmith.platform.cli.check import base_directory
    from tunesmith.platform.data_report import finding
    from tunesmith.platform.data_report.report import check_file
    from tunesmith.platform.data_report.tokens import TokenCounter

    finding.ROWS_KEPT = 10**9  # all of them, to be compared with what was planted
    report = check_file(
        folder / "training.jsonl",
        validation=folder / "validation.jsonl",
        tokens=TokenCounter.from_directory(base_directory("pocket")),
    )
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    tokens = report.tokens
    account.write_text(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "cores": len(cores),
                "tokens": tokens.total if tokens else 0,
                "found": {f.check: list(f.rows) for f in report.findings},
            }
        )
    )


def _section(made: Planted, account: dict[str, Any], rows: int, each: int) -> Section:
    found = {check: {line - 1 for line in lines} for check, lines in account["found"].items()}
    cut = found.get("nothing_to_learn", set()) | found.get("truncated", set())
    figures = [
        Figure("time", account["seconds"], "s", SECONDS, higher_is_better=False),
        Figure("time of all cores", account["cpu_seconds"], "s"),
        Figure("peak memory", account["peak_mib"], "MiB", MEBIBYTES, higher_is_better=False),
    ]
    for check in (*CHECKS, "nothing_to_learn"):
        hits = cut if check == "nothing_to_learn" else found.get(check, set())
        figures += [
            Figure(f"{check}: recall", made.recall(check, hits), "", RECALL),
            Figure(
                f"{check}: false alarms",
                made.false_alarms(hits),
                "",
                FALSE_ALARMS,
                higher_is_better=False,
            ),
        ]
    leaks = {check: found.get(check, set()) for check in ("leakage", "near_leakage")}
    figures += [
        Figure(f"{check}: recall", made.recall(check, hits), "", RECALL)
        for check, hits in leaks.items()
    ]
    figures.append(
        Figure(
            "leakage, both: false alarms",
            made.leakage_false_alarms(leaks["leakage"] | leaks["near_leakage"]),
            "",
            FALSE_ALARMS,
            higher_is_better=False,
        )
    )
    return Section(
        1,
        f"data report on {rows:,} examples, {each:,} of each defect",
        figures,
        held_equal={
            "cores": account["cores"],
            "tokens": f"{account['tokens']:,}",
            "validation rows": f"{len(made.validation):,}",
        },
        method=[
            "One process with all checks, from the file on disk to the report.",
            "A copy counts as found when it or its original is named; clean rows are those that are"
            " neither.",
        ],
        runs={"report": [{name: account[name] for name in ("seconds", "cpu_seconds", "peak_mib")}]},
    )


if __name__ == "__main__":
    main()
