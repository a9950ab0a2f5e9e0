"""Routing against round-robin and least-loaded, by simulation.

`python -m tests.benchmarks.routing [--rounds 3] [--rate 120] [--quick]`. Time is virtual: nothing
waits, so a busy machine does not change the figures, but for the time that a choice takes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from time import perf_counter

from tunesmith.gateway.engines.engine import Engine

from ..figures import Figure, Section, alternate, percentile, ratios, table, write
from ..machine import ROOT, machine, versions
from .engine_model import Shape
from .policies import LeastLoaded, Ours, OursWithoutDrops, Policy, RoundRobin
from .simulation import BASE, Demand, Outcome, Simulation

FEWER_LOADS, SPREAD, CHOICE_MICROSECONDS = 5, 1.25, 10
OURS, WITHOUT, ROUND_ROBIN, LEAST_LOADED = (
    "ours",
    "ours without drops",
    "round-robin",
    "least-loaded",
)
_CHOICES = 100_000


def main() -> None:
    """Simulate, print the table and write build/bench/routing.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=Demand.rate)
    parser.add_argument("--quick", action="store_true", help="a smoke run: figures mean nothing")
    options = parser.parse_args()
    demand = Demand(rate=options.rate)
    if options.quick:
        demand = replace(demand, warm=5_000, measured=5_000)
    section = measure(demand, Shape(), options.rounds)
    print(table(section))
    whole = options.rounds >= 3 and demand == Demand()
    name = "routing.json" if whole else "routing.partial.json"
    write(ROOT / "build/bench" / name, [section], {"machine": machine(), "versions": versions()})


def measure(demand: Demand, shape: Shape, rounds: int) -> Section:
    """All policies over the same requests, other ones each round."""

    def ours(engines: list[Engine], clock: Callable[[], float]) -> Policy:
        return Ours(engines, BASE, shape.slots, shape.holds, clock)

    def without(engines: list[Engine], clock: Callable[[], float]) -> Policy:
        return OursWithoutDrops(engines, BASE, shape.slots, shape.holds, clock)

    choices: list[float] = []

    def run_ours(number: int) -> Outcome:
        simulation = Simulation(replace(demand, seed=number), shape, ours)
        outcome = simulation.run()
        choices.append(_microseconds(simulation, number))
        return outcome

    outcomes = alternate(
        rounds,
        {
            OURS: run_ours,
            WITHOUT: lambda number: Simulation(replace(demand, seed=number), shape, without).run(),
            ROUND_ROBIN: lambda number: _blind(demand, shape, number, RoundRobin),
            LEAST_LOADED: lambda number: _blind(demand, shape, number, LeastLoaded),
        },
    )
    loads = {name: [_per_thousand(o, o.loads) for o in found] for name, found in outcomes.items()}
    figures = [
        Figure.of(
            f"loads, {name} over ours", ratios(loads[name], loads[OURS]), "x", target=FEWER_LOADS
        )
        for name in (ROUND_ROBIN, LEAST_LOADED)
    ]
    figures.append(
        Figure.of(
            f"loads, {ROUND_ROBIN} over {WITHOUT}", ratios(loads[ROUND_ROBIN], loads[WITHOUT]), "x"
        )
    )
    figures += [
        Figure.of(
            "busiest engine over mean, ours",
            [o.spread for o in outcomes[OURS]],
            "",
            target=SPREAD,
            higher_is_better=False,
        ),
        Figure.of(
            "a choice, ours", choices, "us", target=CHOICE_MICROSECONDS, higher_is_better=False
        ),
        Figure.of(
            "adapters warmed ahead per 1,000 requests, ours",
            [_per_thousand(o, o.pulls) for o in outcomes[OURS]],
            "",
        ),
        Figure.of(
            "adapters dropped for room per 1,000 requests, ours",
            [_per_thousand(o, o.drops) for o in outcomes[OURS]],
            "",
        ),
    ]
    for name, found in outcomes.items():
        first = [o.first_tokens for o in found]
        figures += [
            Figure.of(f"loads per 1,000 requests, {name}", loads[name], ""),
            Figure.of(
                f"mean time to first token, {name}",
                [1000 * statistics.mean(times) for times in first],
                "ms",
            ),
            Figure.of(
                f"p99 time to first token, {name}",
                [1000 * percentile(times, 0.99) for times in first],
                "ms",
            ),
        ]
    return Section(
        3,
        f"routing of {demand.adapters:,} adapters, Zipf({demand.exponent:g}),"
        f" over {demand.engines} engines",
        figures,
        held_equal={
            name: str(value)
            for name, value in (asdict(demand) | asdict(shape)).items()
            if name != "seed"
        },
        method=[
            "The gateway's own choice and plans over engines in virtual time; all policies get the"
            " same requests, each round others.",
            "An engine loads adapters beside its batch and beside each other, which favours the"
            " policies that load more; vLLM stops its batch for a load.",
        ],
        runs={
            name: [
                {"loads": o.loads, "pulls": o.pulls, "drops": o.drops, "served": o.served}
                for o in found
            ]
            for name, found in outcomes.items()
        },
    )


def _blind(
    demand: Demand, shape: Shape, number: int, make: Callable[[list[Engine]], Policy]
) -> Outcome:
    return Simulation(replace(demand, seed=number), shape, lambda engines, _: make(engines)).run()


def _per_thousand(outcome: Outcome, count: int) -> float:
    return 1000 * count / len(outcome.first_tokens)


def _microseconds(simulation: Simulation, seed: int) -> float:
    """Time of a choice, with the engines as the simulation left them and prompts' prefixes."""
    digests = [digest for _, digest, _ in simulation.arrivals[-_CHOICES:]]
    started = perf_counter()
    for prefix, digest in enumerate(digests, start=seed):
        simulation.policy.choose(digest, prefix)
    return 1e6 * (perf_counter() - started) / len(digests)


if __name__ == "__main__":
    main()
