"""Section 2: jobs that come by chance to a real cohort, beside what the simulation foretold."""

from __future__ import annotations

import random
import statistics
import time
from collections import deque
from pathlib import Path

from tests.benchmarks.figures import Figure, Section, percentile
from tests.benchmarks.stepping import stepped
from tests.benchmarks.workload import Workload

from tunesmith.platform.capacity.speeds import Cohort as CohortSpeed
from tunesmith.platform.capacity.training import (
    JobArrival,
    TrainingFleet,
    TrainingOutcome,
    TrainingSimulation,
)
from tunesmith.workers.pocket import model_directory
from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

SLOTS = 4
BATCH, EPOCHS = 4, 2
BUSY = 0.85
"""Share of the cohort's time that the jobs take."""


def measure(folder: Path, *, quick: bool) -> Section:
    """Single parts first, then a mixture of jobs, each once for real and once foretold."""
    section = Section(2, "A cohort with jobs that come by chance, measured and foretold")
    base = load_base(model_directory(), "cpu", threads=1)
    workload = Workload(folder)
    examples = (10, 30) if quick else (30, 130)
    count = 4 if quick else 20
    chance = random.Random(8)
    data = [workload.rows(chance.randint(*examples), seed=n) for n in range(count)]
    one, full = (_rate(base, workload, slots, quick) for slots in (1, SLOTS))
    speed = _speed(one, full, statistics.fmean(len(row) for row in data[0]) * BATCH)
    mean = statistics.fmean(_tokens(rows) for rows in data)
    moments, moment = [], 0.0
    for _ in data:
        moment += chance.expovariate(BUSY * full / mean)
        moments.append(moment)
    arrivals = [
        JobArrival(moment, number, 0, _tokens(rows))
        for number, (moment, rows) in enumerate(zip(moments, data, strict=True))
    ]
    waits, trainings = _real(base, data, moments)
    foretold = _foretold(speed, arrivals)
    pairs = {
        "wait": (waits, foretold.waits),
        "wait and training": (
            [sum(both) for both in zip(waits, trainings, strict=True)],
            [sum(both) for both in zip(foretold.waits, foretold.trainings, strict=True)],
        ),
    }
    for name, (real, said) in pairs.items():
        for what, of in (("mean", statistics.fmean), ("p95", lambda v: percentile(v, 0.95))):
            section.figures += [
                Figure(f"{name}, {what}, measured", of(real), "s", higher_is_better=False),
                Figure(f"{name}, {what}, foretold", of(said), "s", higher_is_better=False),
            ]
        section.figures.append(
            Figure(
                f"{name}, mean, foretold over measured",
                statistics.fmean(said) / max(1e-9, statistics.fmean(real)),
                "x",
            )
        )
    section.figures += [
        Figure("one job alone", one, "tokens/s"),
        Figure(f"{SLOTS} jobs side by side", full, "tokens/s"),
    ]
    section.held_equal = {
        "model": "pocket base, float32", "threads": 1, "slots": SLOTS, "jobs": count,
        "examples of a job": f"{examples[0]} to {examples[1]}", "epochs": EPOCHS,
        "load": f"{BUSY:g} of the cohort",
    }  # fmt: skip
    section.method = [
        "The clock is the process's CPU time on one thread, so that neighbours do not count; while",
        "no job is there, it is put forward.",
        "Jobs come at moments drawn once (Poisson) and wait for a slot, first come first served.",
        "The simulation knows the rates with one and with all slots, measured just before, and",
        "each job's tokens; nothing of the run.",
    ]
    section.runs["jobs"] = [
        {"moment": a.moment, "tokens": a.tokens, "wait": w, "training": t}
        for a, w, t in zip(arrivals, waits, trainings, strict=True)
    ]
    section.runs["foretold"] = [{"waits": foretold.waits, "trainings": foretold.trainings}]
    return section


def _tokens(rows: list[Row]) -> float:
    return float(EPOCHS * sum(len(row) for row in rows))


def _spec(name: str) -> SlotSpec:
    return SlotSpec(name, 16, 32.0, 1e-4, EPOCHS, BATCH)


def _rate(base: Base, workload: Workload, slots: int, quick: bool) -> float:
    """Tokens/s of so many slots with rows like the jobs'."""
    cohort = Cohort(base)
    rows = 24 if quick else 80
    for number in range(slots):
        cohort.join(_spec(f"warm-{number}"), workload.rows(rows, seed=100 + number))
    for _ in range(slots * 2):
        stepped(cohort)
    before, began = _trained(cohort), time.process_time()
    while not cohort.idle:
        stepped(cohort)
    rate = (_trained(cohort) - before) / (time.process_time() - began)
    for name in cohort.slots:
        cohort.leave(name)
    return rate


def _trained(cohort: Cohort) -> int:
    return sum(cohort.progress(name).trained_tokens for name in cohort.slots)


def _speed(one: float, full: float, batch_tokens: float) -> CohortSpeed:
    """The pass's fixed cost and the cost of a token, from both rates."""
    pass_tokens = 2048.0
    most = min(pass_tokens, SLOTS * batch_tokens)
    alone, together = batch_tokens / one, most / full
    token = max(1e-9, (together - alone) / (most - batch_tokens))
    return CohortSpeed(
        slots=SLOTS, start_seconds=0.0, quantized=False, batch_tokens=batch_tokens,
        pass_tokens=pass_tokens, pass_seconds=max(0.0, alone - batch_tokens * token),
        token_seconds=token,
    )  # fmt: skip


def _real(
    base: Base, data: list[list[Row]], moments: list[float]
) -> tuple[list[float], list[float]]:
    """Seconds that each job waited, and trained, in the order of coming."""
    cohort = Cohort(base)
    began, skipped = time.process_time(), 0.0
    coming = deque(range(len(data)))
    waiting: deque[int] = deque()
    joined: dict[int, float] = {}
    ended: dict[int, float] = {}
    while len(ended) < len(data):
        now = time.process_time() - began + skipped
        while coming and moments[coming[0]] <= now:
            waiting.append(coming.popleft())
        while waiting and len(cohort.slots) < SLOTS:
            number = waiting.popleft()
            joined[number] = time.process_time() - began + skipped
            cohort.join(_spec(str(number)), data[number])
        if not cohort.slots:
            skipped += max(0.0, moments[coming[0]] - now)
            continue
        stepped(cohort)
        for name in cohort.slots:
            if cohort.progress(name).finished:
                ended[int(name)] = time.process_time() - began + skipped
                cohort.leave(name)
    numbers = range(len(data))
    return (
        [joined[number] - moments[number] for number in numbers],
        [ended[number] - joined[number] for number in numbers],
    )


def _foretold(speed: CohortSpeed, arrivals: list[JobArrival]) -> TrainingOutcome:
    fleet = TrainingFleet(
        cohort=speed, most=1, least=1, per_base=1, worker_seconds=0.0, idle_seconds=1e9,
        preparation_seconds=0.0, publication_seconds=0.0,
    )  # fmt: skip
    return TrainingSimulation(fleet, 1).run(arrivals, 1e7)
