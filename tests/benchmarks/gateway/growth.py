"""How the gateway does as tenants, adapters and jobs become more, on PostgreSQL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Figure, Section, percentile
from tests.benchmarks.machine import ROOT

from . import growth_calls, growth_work
from .growth_calls import Calls, Tenants
from .growth_database import create_database, postgres
from .growth_plot import plot
from .growth_rows import FULL, Size, fill, key_of
from .processes import SERVER_CORE, answer_of, free_port, resident_mib, running
from .sides import ADMIN_KEY, MANY, Side, stub_engine

SHARES = (0.01, 0.1, 1.0)
"""Sizes, as shares of the full one."""
CALLS, BLOCKS = 500, 20
"""Calls of each kind at each size, in so many blocks: the sizes take turns."""
CHATS = 10_000
GROWTH = 2.0
"""Times that a p99 may grow by over 100 times the rows. A B-tree of 1,000,000 rows is 1.5 times as
deep as one of 10,000; the rest is for what does not fit caches any more."""

BOUNDED = (
    growth_calls.MODELS,
    growth_calls.MODEL,
    growth_calls.CREATE,
    growth_calls.PAGE,
    growth_calls.DEEP,
    growth_calls.CHAT,
    growth_work.CLAIM,
)
"""What must not grow with the platform."""

DOCS, PLOT = ROOT / "docs", "growth.svg"

CLASSES = ((1, 10), (80, 120), (800, 1200), (4000, 100_000))
"""Tenants by how many models they have."""


@dataclass
class Found:
    """What was measured at one size: seconds by call, MiB by moment, /v1/models by its length."""

    size: Size
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    lists: list[tuple[int, float]] = field(default_factory=list)

    def p99(self, name: str) -> float:
        return percentile(self.seconds[name], 0.99) * 1000

    def p50(self, name: str) -> float:
        return percentile(self.seconds[name], 0.5) * 1000

    def as_json(self) -> dict[str, Any]:
        return {
            "tenants": self.size.tenants,
            "adapters": self.size.adapters,
            "jobs": self.size.jobs,
            "milliseconds": {
                name: {"calls": len(times), "p50": self.p50(name), "p99": self.p99(name)}
                for name, times in self.seconds.items()
            },
            "resident_mib": self.memory,
            "models_listed": [{"models": n, "p99_ms": ms} for n, ms in self.lists],
        }


def measure(folder: Path, *, shares: Sequence[float] = SHARES, calls: int = CALLS) -> Section:
    """Times and memory at all sizes in turns; docs/growth.svg is drawn anew with the full one."""
    with postgres(folder) as url, stub_engine(folder) as engine:
        sizes = [_of(share) for share in shares]
        databases = [create_database(url, f"growth_{size.jobs}") for size in sizes]
        for size, database in zip(sizes, databases, strict=True):
            print(f"bench: making {size.jobs:,} jobs and all that belongs to them", flush=True)
            fill(database, size)
        with ExitStack() as gateways:
            asked = [
                Asked.open(gateways, folder, database, size, engine.url)
                for size, database in zip(sizes, databases, strict=True)
            ]
            with on_last_core():
                ask(asked, calls)
        for _ in range(BLOCKS):
            for one in asked:
                one.work(calls // BLOCKS)
    found = [one.found for one in asked]
    if len(found) > 1:
        draw((DOCS if shares[-1] == 1.0 else DOCS.parent / "build" / "bench") / PLOT, found)
    return section(found)


def _of(share: float) -> Size:
    return Size(*(max(1, int(n * share)) for n in (FULL.tenants, FULL.adapters, FULL.jobs)))


@dataclass
class Asked:
    """A gateway before a database of one size, and what was found so far."""

    database: str
    side: Side
    tenants: Tenants
    found: Found

    @classmethod
    def open(cls, until: ExitStack, folder: Path, database: str, size: Size, engine: str) -> Asked:
        """Start the gateway."""
        side = until.enter_context(_gateway(folder / f"gateway-{size.jobs}", database, engine))
        return cls(database, side, Tenants(database, size), Found(size))

    def __post_init__(self) -> None:
        self.port = int(self.side.url.rpartition(":")[2])
        self.calls = Calls(self.port, self.found.seconds)

    def remember(self, moment: str) -> None:
        """Note the gateway's memory."""
        self.found.memory[moment] = resident_mib(self.side.process)

    def work(self, calls: int) -> None:
        """Have a process of its own do what dispatcher and evaluator do."""
        module = "tests.benchmarks.gateway.growth_work"
        command = [sys.executable, "-m", module, self.database, str(calls)]
        for name, times in answer_of(command).items():
            self.found.seconds.setdefault(name, []).extend(times)


def ask(asked: Sequence[Asked], calls: int) -> None:
    """Ask all gateways in turns, so that a slow spell of the machine meets all sizes."""
    for one in asked:
        growth_calls.ask(Calls(one.port), one.tenants, 20)  # warm
        one.remember("start")
    for _ in range(BLOCKS):
        for one in asked:
            growth_calls.ask(one.calls, one.tenants, calls // BLOCKS)
    for one in asked:
        one.remember("calls")
    chats = CHATS * calls // CALLS
    for name, times in ((growth_calls.CHAT, 4 * calls), (growth_calls.COLD_CHAT, chats)):
        for _ in range(BLOCKS):
            for one in asked:
                growth_calls.chat(one.calls, one.tenants, times // BLOCKS, name)
    for one in asked:
        one.remember("chats")
    last = asked[-1]
    for least, most in CLASSES:
        known = last.tenants.with_models(least, most)
        if known:
            last.found.lists.append(_listing(last.calls, last.tenants, known))


def draw(path: Path, found: Sequence[Found]) -> None:
    """Plot what must not grow, lists by their length, and memory."""
    plot(
        path,
        {name: [(f.size.jobs, f.p99(name)) for f in found] for name in BOUNDED},
        found[-1].lists,
        {
            f"after {moment}": [(f.size.jobs, f.memory[moment]) for f in found]
            for moment in found[-1].memory
        },
    )


def _listing(calls: Calls, tenants: Tenants, among: list[int]) -> tuple[int, float]:
    """Models in a list, and the p99 of its milliseconds."""
    alone = Calls(calls.port)
    for _ in range(100):
        alone("list", "GET", "/v1/models", key_of(tenants.draw(among)))
    lengths = sorted(len(tenants.models[tenant]) for tenant in among)
    return lengths[len(lengths) // 2], percentile(alone.seconds["list"], 0.99) * 1000


def section(found: Sequence[Found]) -> Section:
    """Growth of what must not grow first, then what was measured at the largest size."""
    first, last = found[0], found[-1]
    figures = [
        Figure(
            f"p99 of {name}, full over {first.size.jobs / last.size.jobs:.0%} size",
            last.p99(name) / first.p99(name),
            "x",
            target=GROWTH,
            higher_is_better=False,
        )
        for name in BOUNDED
        if len(found) > 1
    ]
    for name in last.seconds:
        shown = ", ".join(f"{f.p50(name):.1f} / {f.p99(name):.1f}" for f in found)
        figures.append(
            Figure(f"{name}: p99", last.p99(name), "ms", note=f"p50 / p99 by size: {shown}")
        )
    figures += [
        Figure(f"/v1/models of {length:,} models: p99", ms, "ms") for length, ms in last.lists
    ]
    for moment in last.memory:
        shown = ", ".join(f"{f.memory[moment]:.0f}" for f in found)
        figures.append(
            Figure(
                f"resident memory after {moment}",
                last.memory[moment],
                "MiB",
                note=f"by size: {shown}",
            )
        )
    sizes = [f"{f.size.tenants:,} / {f.size.adapters:,} / {f.size.jobs:,}" for f in found]
    return Section(
        5,
        "growth of tenants, adapters and jobs",
        figures,
        held_equal={"tenants / adapters / jobs": ", ".join(sizes)},
        method=[
            "PostgreSQL with a 2 GiB buffer, on the last core with engine (nginx) and load; the"
            " gateways on the first. One call after another, the sizes in turns.",
            "Half of the calls are of tenants by chance, half of tenants by their size, so every"
            " call meets a key that is not in the gateway's memory. All limits are on.",
        ],
        runs={f"{f.size.jobs} jobs": [f.as_json()] for f in found},
    )


@contextmanager
def _gateway(folder: Path, database: str, engine: str) -> Iterator[Side]:
    home, port = folder / "home", free_port()
    home.mkdir(parents=True)
    url = f"http://127.0.0.1:{port}"
    limits = ("requests_per_minute", "tokens_per_minute", "queued_jobs", "adapters")
    environment = {
        "TUNESMITH_HOME": str(home),
        "TUNESMITH_DATABASE_URL": database,
        "TUNESMITH_PORT": str(port),
        "TUNESMITH_ADMIN_KEY": ADMIN_KEY,
        "TUNESMITH_ENGINES": engine,
        "TUNESMITH_LOG_FORMAT": "json",
        "TUNESMITH_STORED_BYTES": str(10**15),
        **{f"TUNESMITH_{limit.upper()}": str(MANY) for limit in limits},
    }
    with running(
        [sys.executable, "-m", "tunesmith.gateway"],
        log=folder / "gateway.log",
        on=SERVER_CORE,
        environment=environment,
        ready=f"{url}/readyz?part=engines",
    ) as process:
        yield Side(url, "", process)


@contextmanager
def on_last_core() -> Iterator[None]:
    """Keep this process off the first core, which is the gateway's; to start none meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[-1]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
