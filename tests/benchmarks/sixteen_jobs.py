"""Section 2: sixteen jobs of 100 short examples, as they arrive."""

from __future__ import annotations

import statistics
from pathlib import Path

from .evaluation import mean_loss
from .figures import Figure, Section, alternate, ratios
from .plan import Hyperparameters, Run
from .sides import Bench, loss_agreement
from .workload import size

JOBS = 16
ARRIVAL_GAP = 0.1
"""Seconds between submissions. TRL never waits for one: its first job takes longer than all."""

LATER_PROCESSES = 2
"""TRL processes in each round after the first, which runs all sixteen."""

AUTO_EPOCHS = 13
"""What our `auto` would choose for 100 rows, for the note on longer jobs."""


def measure(bench: Bench) -> Section:
    """Wall time from the first submission to the last adapter on disk."""
    count, rows_each = (3, 12) if bench.quick else (JOBS, 100)
    hyperparameters = Hyperparameters(n_epochs=bench.epochs or 2)
    files = [bench.workload.file(rows_each, seed=number) for number in range(count)]
    sizes = [size(bench.workload.rows(rows_each, seed=number)) for number in range(count)]

    def cohort(_round: int) -> Run:
        jobs = [_named(bench, n, file, hyperparameters, "ours") for n, file in enumerate(files)]
        return bench.ours({"jobs": jobs, "arrival_gap": ARRIVAL_GAP})

    def in_turn(_round: int) -> Run:
        jobs = [_named(bench, n, file, hyperparameters, "in-turn") for n, file in enumerate(files)]
        return bench.trl({"jobs": jobs})

    def processes(number: int) -> list[Run]:
        return [
            bench.trl({"jobs": [_named(bench, n, files[n], hyperparameters, "processes")]})
            for n in process_jobs(number, count)
        ]

    runs = alternate(
        bench.repeats,
        {
            "ours": lambda n: [cohort(n)],
            "TRL in turn": lambda n: [in_turn(n)],
            "TRL processes": processes,
        },
    )
    ours = [each[0] for each in runs["ours"]]
    turns = [each[0] for each in runs["TRL in turn"]]
    resident = [run.last_adapter - run.first_submission for run in ours]
    started = [run.last_adapter - run.started for run in ours]
    kept = [run.last_adapter - run.first_submission for run in turns]
    kept_started = [run.last_adapter - run.started for run in turns]
    separate = [count * statistics.mean(run.wall for run in each) for each in runs["TRL processes"]]
    section = Section(2, f"{count} jobs of {rows_each} short examples, as they arrive")
    section.held_equal = bench.held_equal(
        hyperparameters,
        data={"jobs": count, **{key: sum(s[key] for s in sizes) for key in sizes[0]}},
        steps=[ours[0].steps, turns[0].steps],
    )
    section.figures = [
        Figure.of(
            "sixteen TRL processes, over our resident cohort",
            ratios(separate, resident),
            "x",
            target=6.0,
            note=longer_jobs(runs["TRL processes"], ours, hyperparameters.n_epochs),
        ),
        Figure.of(
            "one TRL process in turn, over our resident cohort",
            ratios(kept, resident),
            "x",
            target=1.5,
            note="both bases in memory when the first job is submitted",
        ),
        Figure.of(
            "sixteen TRL processes, over ours with its start", ratios(separate, started), "x"
        ),
        Figure.of(
            "one TRL process, over ours, both with their start", ratios(kept_started, started), "x"
        ),
        Figure.of("our cohort, base resident", resident, "s"),
        Figure.of("our cohort, process start and base load included", started, "s"),
        Figure.of("one TRL process in turn, base resident", kept, "s"),
        Figure.of(
            "sixteen TRL processes",
            separate,
            "s",
            note=(
                f"round 1 ran all {count} one after another; each later round timed "
                f"{min(LATER_PROCESSES, count)} of them, others each time, and counts {count} "
                "times their mean"
            ),
        ),
    ]
    losses = [
        [
            mean_loss(bench.workload.model, _adapter(bench, side, n), file)
            for n, file in enumerate(files)
        ]
        for side in ("ours", "in-turn")
    ]
    section.figures.append(loss_agreement(*(statistics.mean(each) for each in losses)))
    section.method = [
        "TRL trains padding-free. From the first submission to the last adapter on disk; for",
        "processes, from the first start to the last end. Arrivals are",
        f"{ARRIVAL_GAP} s apart for ours, all at once for TRL, which only shortens TRL's time.",
    ]
    section.runs = {
        side: [[run.raw() for run in each] for each in lists] for side, lists in runs.items()
    }
    return section


def process_jobs(number: int, count: int) -> list[int]:
    """Which jobs round `number` (0-based) runs as processes: all, then a few others each time."""
    if number == 0:
        return list(range(count))
    first = (number - 1) * LATER_PROCESSES
    return [(first + n) % count for n in range(min(LATER_PROCESSES, count))]


def longer_jobs(processes: list[list[Run]], ours: list[Run], epochs: int) -> str:
    """What the ratio would be if the jobs trained longer, from the measured parts."""
    singles = [run for each in processes for run in each]
    loop = statistics.median(run.account["jobs"][0]["loop_seconds"] for run in singles)
    wall = statistics.median(run.wall for run in singles)
    resident = statistics.median(run.last_adapter - run.first_submission for run in ours)
    jobs = len(ours[0].account["jobs"])
    longer = AUTO_EPOCHS / epochs
    ratio = jobs * (wall - loop + loop * longer) / (resident * longer)
    return (
        f"a TRL process takes {wall:.1f} s, {wall - loop:.1f} s of it outside its training loop, "
        f"so the ratio falls with longer jobs: about {ratio:.1f}x at {AUTO_EPOCHS} epochs "
        "(computed)"
    )


def _named(
    bench: Bench, number: int, rows: Path, hyperparameters: Hyperparameters, side: str
) -> dict[str, object]:
    return bench.job(f"job-{number}", rows, hyperparameters, side)


def _adapter(bench: Bench, side: str, number: int) -> Path:
    return bench.folder / "adapters" / side / f"job-{number}"
