"""Ten tenants at their share and one at fifty times its own: how long the others wait.

`python -m tests.benchmarks.fairness [--seconds 120] [--rounds 5]`. Virtual time: the queue is the
gateway's own, the engine is the model of `engine.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from tests.benchmarks.figures import Figure, Section, table, write
from tests.benchmarks.machine import ROOT, machine, versions

from . import engine, traffic
from .engine import Request
from .simulation import ESTIMATED_ANSWER, Fair, FirstComeFirstServed, MakeLine, run

OTHERS, FLOOD, TIMES = 10, "flood", 50
RAISED = 1.3
WARM_SECONDS, LAST_SECONDS = 20.0, 5.0
CASES = ((256, 0.9), (128, 0.9), (256, 0.8), (128, 0.8), (128, 0.6))
"""Slots of the engine, and the part of its most requests a second that all shares make. The first
has the default of the setting, with an engine that is well used."""


@dataclass(frozen=True)
class Outcome:
    """What one run gave: the others' 95th percentile in seconds, and requests a second of all."""

    others: float
    per_second: float


def main() -> None:
    """Simulate, print the tables and write build/bench/fairness.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sections = [
        _section(number, slots, load, options.seconds, options.rounds)
        for number, (slots, load) in enumerate(CASES, 1)
    ]
    for section in sections:
        print(table(section))
    write(
        ROOT / "build/bench/fairness.json",
        sections,
        {"machine": machine(), "versions": versions()},
    )


def _section(number: int, slots: int, load: float, seconds: float, rounds: int) -> Section:
    share = traffic.most_per_second(slots) * load / (OTHERS + 1)
    lines: dict[str, MakeLine] = {"fair": Fair, "first come": FirstComeFirstServed}
    runs = {
        f"{name}, {'flood' if times > 1 else 'quiet'}": [
            _outcome(make, slots, share, times, seconds, seed) for seed in range(rounds)
        ]
        for name, make in lines.items()
        for times in (1, TIMES)
    }
    # A quiet engine with one line for all is what a flood is measured against: our own quiet
    # figure would hide what the reserve costs.
    quiet = runs["first come, quiet"]
    flooded = _ratios(runs["fair, flood"], quiet)
    main_case = number == 1
    figures = [
        Figure.of(
            "others' p95 time to first token, flood over quiet",
            flooded,
            "x",
            target=RAISED if main_case else None,
            higher_is_better=False,
        ),
        Figure.of(
            "the same, quiet: what the queue itself costs",
            _ratios(runs["fair, quiet"], quiet),
            "x",
            higher_is_better=False,
        ),
        Figure.of(
            "the same, flood, first come first served",
            _ratios(runs["first come, flood"], quiet),
            "x",
            higher_is_better=False,
        ),
        *(
            Figure.of(f"p95, {name}", [one.others * 1000 for one in outcomes], "ms")
            for name, outcomes in runs.items()
        ),
        Figure.of(
            "requests of all in the flood, over first come",
            [
                ours.per_second / theirs.per_second
                for ours, theirs in zip(runs["fair, flood"], runs["first come, flood"], strict=True)
            ],
            "x",
        ),
    ]
    return Section(
        number,
        f"a flood of {TIMES}x its share: {slots} slots, shares of {load:.0%} of the engine in all",
        figures,
        held_equal={
            "tenants": f"{OTHERS} at {share:.2f} requests/s, one at {share:.2f} or {TIMES}x",
            "tokens": f"prompts of {traffic.PROMPT}, answers of {traffic.ANSWER} (mean)",
            "estimate": f"prompt + {ESTIMATED_ANSWER}",
            "engine": f"step {engine.STEP * 1e3:g} ms + {engine.PER_REQUEST * 1e6:g} us a request"
            f" + {engine.PER_PROMPT_TOKEN * 1e6:g} us a prompt's token,"
            f" {engine.TOKENS_PER_STEP} tokens a step",
        },
        method=[
            f"{rounds} runs of {seconds:g} virtual seconds, the first {WARM_SECONDS:g} left out.",
            "The engine is a model; the queue is the gateway's. Lengths are log-normal.",
            "First come first served has no longest wait here, so a flood only adds to it.",
        ],
        runs={name: [vars(one) for one in outcomes] for name, outcomes in runs.items()},
    )


def _ratios(ours: Sequence[Outcome], quiet: Sequence[Outcome]) -> list[float]:
    return [one.others / other.others for one, other in zip(ours, quiet, strict=True)]


def _outcome(
    make: MakeLine, slots: int, share: float, times: float, seconds: float, seed: int
) -> Outcome:
    rates = {f"tenant {number}": share for number in range(OTHERS)} | {FLOOD: share * times}
    came = run(make, slots, traffic.requests(rates, seconds, seed), seconds)

    def waited(request: Request) -> float:
        end = seconds if request.first_token is None else request.first_token
        return end - request.arrived

    others = sorted(
        waited(request)
        for request in came
        if request.tenant != FLOOD and WARM_SECONDS < request.arrived < seconds - LAST_SECONDS
    )
    answered = sum(request.first_token is not None for request in came)
    return Outcome(others[ceil(0.95 * len(others)) - 1], answered / seconds)


if __name__ == "__main__":
    main()
