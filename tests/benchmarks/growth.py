"""Section 5: throughput by number of slots, step times beside a large slot, and fairness."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

from .figures import Figure, Section, alternate, percentile, ratios
from .plan import Hyperparameters
from .sides import Bench
from .stepping import stepped

SLOTS = (1, 2, 4, 8, 16, 32, 64)
LONG = (400, 600)
"""Tokens of a large job's rows, from and to."""

SMALL = Hyperparameters(n_epochs=3, batch_size=4)
LARGE = Hyperparameters(n_epochs=50, batch_size=4)


@dataclass
class Track:
    """What a slot reported while a cohort was watched.

    Attributes:
        joined: perf_counter when it joined.
        times: perf_counter of each of its steps' ends.
        tokens: of each step.
    """

    joined: float
    times: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.joined

    @property
    def step_times(self) -> list[float]:
        """Seconds from one step's end to the next, the first from joining."""
        return [after - before for before, after in pairwise([self.joined, *self.times])]

    def rate(self, since: float, until: float) -> float:
        """Tokens/s between its first and its last step that end within the window."""
        inside = [n for n, moment in enumerate(self.times) if since <= moment <= until]
        if len(inside) < 2:
            raise ValueError("fewer than two steps end within the window")
        first, last = inside[0], inside[-1]
        return sum(self.tokens[first + 1 : last + 1]) / (self.times[last] - self.times[first])

    def raw(self) -> dict[str, Any]:
        return {"joined": self.joined, "times": self.times, "tokens": self.tokens}


def measure(bench: Bench) -> Section:
    """All of section 5, in this process."""
    base = load_base(bench.workload.model, "cpu", threads=bench.threads)
    section = Section(5, "From 1 to 64 slots, and a small slot beside a large one")
    section.held_equal = {
        "model": "pocket base, float32",
        "threads": bench.threads,
        "rank": SMALL.rank,
        "batch of every small slot": f"{SMALL.batch_size} rows of 20 to 120 tokens",
        "large slot": f"batches of {LARGE.batch_size} rows of {LONG[0]} to {LONG[1]} tokens",
    }
    rounds = min(2, bench.repeats) if bench.quick else bench.repeats
    _growth(bench, base, section, min(3, rounds))
    _beside_a_large_slot(bench, base, section, rounds)
    return section


def _growth(bench: Bench, base: Base, section: Section, rounds: int) -> None:
    counts = SLOTS[:3] if bench.quick else SLOTS
    rates = alternate(
        rounds,
        {str(count): partial(_throughput_of, bench, base, count) for count in counts},
    )
    for count in counts:
        section.figures.append(
            Figure.of(f"{count} slots, throughput", rates[str(count)], "tokens/s")
        )
    most = str(counts[-1])
    section.figures.append(
        Figure.of(f"throughput, {most} slots over 1", ratios(rates[most], rates["1"]), "x")
    )
    section.runs["tokens per second by slots"] = [rates]


def _throughput_of(bench: Bench, base: Base, slots: int, _round: int) -> float:
    return throughput(bench, base, slots)


def throughput(bench: Bench, base: Base, slots: int) -> float:
    """Tokens/s of a full cohort: every slot takes the same number of steps.

    The first step of each is left out: memory is found and kernels are chosen in it.
    """
    steps = 4 if bench.quick else max(4, 64 // slots)
    cohort = Cohort(base)
    for number in range(slots):
        rows = bench.workload.rows(SMALL.batch_size * (steps + 1), seed=number)
        cohort.join(_spec(f"slot-{number}", SMALL, epochs=1), rows)
    while min(cohort.progress(name).step for name in cohort.slots) < 1:
        _step(cohort)
    before = _tokens(cohort)
    began = time.perf_counter()
    while not cohort.idle:
        _step(cohort)
    seconds = time.perf_counter() - began
    rate = (_tokens(cohort) - before) / seconds
    for name in cohort.slots:
        cohort.leave(name)
    return rate


def _beside_a_large_slot(bench: Bench, base: Base, section: Section, rounds: int) -> None:
    small = bench.workload.rows(40 if bench.quick else 100, seed=1)
    large = bench.workload.rows(16 if bench.quick else 64, seed=2, lengths=LONG)
    runs = alternate(
        rounds,
        {
            "small alone": lambda _: watch(base, small=small),
            "large alone": lambda _: watch(base, large=large),
            "both": lambda _: watch(base, small=small, large=large),
        },
    )
    alone, large_alone, both = runs["small alone"], runs["large alone"], runs["both"]
    p99 = {
        "alone": [percentile(each["small"].step_times[1:], 0.99) for each in alone],
        "beside": [percentile(each["small"].step_times[1:], 0.99) for each in both],
    }
    slow_downs, shares = [], []
    for solo, together in zip(large_alone, both, strict=True):
        slow_down, share = fairness(solo["large"], together["small"], together["large"])
        slow_downs.append(slow_down)
        shares.append(share)
    section.figures += [
        Figure.of(
            "finish time of 100 short examples beside a large job, over alone",
            ratios([e["small"].seconds for e in both], [e["small"].seconds for e in alone]),
            "x",
            target=2.0,
            higher_is_better=False,
        ),
        Figure.of(
            "slow-down of the large job, over the share of tokens it gave",
            ratios(slow_downs, shares),
            "x",
            target=1.0,
            higher_is_better=False,
            note="1 less its tokens/s meanwhile over its tokens/s alone; share by trained tokens",
        ),
        Figure.of(
            "99th percentile of a small slot's step time, beside a large one over alone",
            ratios(p99["beside"], p99["alone"]),
            "x",
            higher_is_better=False,
        ),
        Figure.of(
            "small slot's p99 step time, alone", _ms(p99["alone"]), "ms", higher_is_better=False
        ),
        Figure.of(
            "small slot's p99 step time, beside", _ms(p99["beside"]), "ms", higher_is_better=False
        ),
        Figure.of(
            "large job's slow-down meanwhile",
            [100 * s for s in slow_downs],
            "%",
            higher_is_better=False,
        ),
        Figure.of("share of the tokens that it gave", [100 * s for s in shares], "%"),
    ]
    section.method = [
        "The small job joins when the large one has done two steps. A step's time runs from one",
        "step's end to the next, as the slot's tenant sees it, waiting included.",
    ]
    for side, each in runs.items():
        section.runs[side] = [{name: track.raw() for name, track in run.items()} for run in each]


def fairness(large_alone: Track, small: Track, large: Track) -> tuple[float, float]:
    """The large job's slow-down while the small one ran, and the share of tokens it gave."""
    since, until = small.joined, small.times[-1]
    rate = large.rate(since, until)
    small_rate = sum(small.tokens) / small.seconds
    slow_down = 1 - rate / large_alone.rate(large_alone.joined, large_alone.times[-1])
    return slow_down, small_rate / (small_rate + rate)


def watch(
    base: Base, *, small: list[Row] | None = None, large: list[Row] | None = None
) -> dict[str, Track]:
    """Train until the small job is done, or without one until the large has done 12 steps."""
    cohort = Cohort(base)
    tracks: dict[str, Track] = {}
    if large:
        cohort.join(_spec("large", LARGE), large)
        tracks["large"] = Track(time.perf_counter())
        while cohort.progress("large").step < 2:
            _step(cohort, tracks)
    if small:
        cohort.join(_spec("small", SMALL), small)
        tracks["small"] = Track(time.perf_counter())
    while not (cohort.progress("small").finished if small else cohort.progress("large").step >= 12):
        _step(cohort, tracks)
    for name in cohort.slots:
        cohort.leave(name)
    return tracks


def _step(cohort: Cohort, tracks: dict[str, Track] | None = None) -> None:
    for report in stepped(cohort):
        if tracks is not None:
            tracks[report.slot].times.append(time.perf_counter())
            tracks[report.slot].tokens.append(report.tokens)


def _tokens(cohort: Cohort) -> int:
    return sum(cohort.progress(name).trained_tokens for name in cohort.slots)


def _spec(name: str, hyperparameters: Hyperparameters, epochs: int | None = None) -> SlotSpec:
    values: dict[str, Any] = dict(vars(hyperparameters))
    return SlotSpec(name=name, **(values | ({"n_epochs": epochs} if epochs else {})))


def _ms(seconds: list[float]) -> list[float]:
    return [1000 * value for value in seconds]
