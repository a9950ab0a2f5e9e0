"""Section 1: what PostgreSQL takes from gateways and dispatchers, on one core and a real disk."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks.figures import Figure, Section, percentile
from tests.benchmarks.gateway.growth_database import create_database, postgres
from tests.benchmarks.gateway.processes import SERVER_CORE, core
from tests.benchmarks.machine import ROOT

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Usage

from . import plots
from .database_load import STEPS_AT_ONCE, USAGE_ROWS, Client, quiet, renewals
from .database_rows import bytes_of, fill, rows_of

DURABLE = ("listen_addresses=''", "shared_buffers=512MB", "max_connections=100")
"""PostgreSQL's defaults else: every commit is on the disk before it is answered."""
CLIENTS = (1, 4)
WORK = {
    "create": ("jobs created", "jobs/s"),
    "claim": ("jobs claimed and given back", "claims/s"),
    "life": ("jobs from claim to model, without steps", "jobs/s"),
    "step": ("steps written, one in a transaction", "steps/s"),
    "steps": (f"steps written, {STEPS_AT_ONCE} in a transaction", "steps/s"),
    "usage": (f"usage rows added, {USAGE_ROWS} in a transaction", "rows/s"),
}
LEASES = (16, 160, 640)


def measure(folder: Path, docs: Path | None, *, seconds: float, quick: bool) -> Section:
    """The rates by clients at once, what rows take, and what leases cost.

    Args:
        docs: folder of the plot; none is drawn where it is None.
    """
    section = Section(1, "The database: what dispatchers and gateways can ask of it")
    tenants, jobs, seconds = (10, 100, 0.5) if quick else (100, 2_000, seconds)
    quiet()
    with postgres(folder, DURABLE) as url:
        own = create_database(url, "scale")
        database = fill(own, tenants, jobs)
        section.figures += [
            _bytes("a tenant and its key", bytes_of(database, "tenants", "api_keys") / tenants),
            _bytes("a job that waits", bytes_of(database, "jobs", "job_events") / jobs),
        ]
        section.figures.append(
            _bytes("a job until its model, more", _bytes_of_a_life(database, *_lives(quick)))
        )
        for work, (name, unit) in WORK.items():
            empty, done = bytes_of(database), 0
            for clients in CLIENTS:
                before = _server_cpu(folder)
                found = _together(own, work, clients, seconds)
                server = _server_cpu(folder) - before
                ended = sum(each["done"] for each in found)
                done += ended
                times = [1000 * each for client in found for each in client["seconds"]]
                label = f"{name}, {_clients(clients)}"
                rate = sum(each["done"] / each["took"] for each in found)
                section.figures += [
                    Figure(
                        label, rate, unit,
                        note=f"p50 {statistics.median(times):.1f} ms,"
                        f" p99 {percentile(times, 0.99):.1f} ms",
                    ),
                    _cpu(f"{label}, of a client", sum(e["cpu"] for e in found) / ended),
                    _cpu(f"{label}, of PostgreSQL", server / ended),
                ]  # fmt: skip
                section.runs.setdefault(work, []).append(
                    {"clients": clients, "server cpu": server, "runs": found}
                )
            grown = bytes_of(database) - empty
            if work == "steps":
                section.figures.append(_bytes("a step's event, more", grown / done))
        rows = rows_of(database, Usage)
        section.figures.append(_bytes("a row of usage", bytes_of(database, "usage") / rows))
        for leases in LEASES:
            if leases * 2 > jobs:
                continue
            cpu, server = time.process_time(), _server_cpu(folder)
            repeats = 3 if quick else 10
            times = [1000 * each for each in renewals(database, leases, repeats)]
            cpu, server = time.process_time() - cpu, _server_cpu(folder) - server
            section.figures += [
                Figure.of(f"renewing {leases} leases", times, "ms", higher_is_better=False),
                _cpu(f"renewing {leases} leases, both", (cpu + server) / repeats),
            ]
        database.dispose()
    if docs is not None:
        plots.rates_of_a_core(docs / "scale-database.svg", core_costs(section.figures))
    section.held_equal = {
        "tenants": tenants, "queued jobs at first": jobs, "seconds of a run": seconds,
        "PostgreSQL": "on the last core, fsync and synchronous commit on",
        "clients": "processes on the first core",
    }  # fmt: skip
    return section


def _together(url: str, work: str, clients: int, seconds: float) -> list[dict[str, Any]]:
    start = time.time() + 2.0 + 1.5 * clients  # imports on one core
    command = [
        *core(SERVER_CORE), sys.executable, "-m", "tests.benchmarks.scale.database_load",
        url, work, str(seconds), str(start),
    ]  # fmt: skip
    running = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for number in range(clients)
    ]
    found = []
    for process in running:
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"a client that did {work} failed; what it said is above")
        found.append(json.loads(output))
    return found


def core_costs(figures: Sequence[Figure]) -> dict[str, tuple[float, float]]:
    """CPU in ms of one client and of PostgreSQL, by kind of work."""
    found = {figure.name: figure.value for figure in figures}
    return {
        name: (
            found[f"CPU of {name}, 1 client, of a client"],
            found[f"CPU of {name}, 1 client, of PostgreSQL"],
        )
        for name, _ in WORK.values()
    }


def _lives(quick: bool) -> tuple[int, int]:
    return (5, 10) if quick else (100, 200)


def _bytes_of_a_life(database: Database, first: int, counted: int) -> float:
    """Bytes that a job adds until its model is there, after some that fill first pages."""
    client = Client(database, 0)
    for _ in range(first):
        client.life()
    before = bytes_of(database)
    for _ in range(counted):
        client.life()
    return (bytes_of(database) - before) / counted


def _cpu(name: str, seconds: float) -> Figure:
    """CPU time tells of a part's work on a busy machine too, where time by the clock does not."""
    return Figure(f"CPU of {name}", 1000 * seconds, "ms", higher_is_better=False)


def _server_cpu(folder: Path) -> float:
    """Seconds of CPU that PostgreSQL has taken, with its processes that have ended."""
    number = (folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0]
    server = psutil.Process(int(number))
    times = server.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in server.children():
        with suppress(psutil.NoSuchProcess):
            of_child = child.cpu_times()
            total += of_child.user + of_child.system
    return float(total)


def _bytes(name: str, value: float) -> Figure:
    return Figure(f"{name}, with indexes", value, "bytes", higher_is_better=False)


def _clients(count: int) -> str:
    return f"{count} client{'' if count == 1 else 's'}"
