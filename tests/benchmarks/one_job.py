"""Section 1: one job of 500 short examples."""

from __future__ import annotations

from .evaluation import mean_loss
from .figures import Figure, Section, alternate, ratios
from .plan import Hyperparameters, Run
from .sides import Bench, loss_agreement
from .workload import size


def measure(bench: Bench) -> Section:
    """Tokens/s of our cohort of one against TRL's two ways."""
    count = 40 if bench.quick else 500
    hyperparameters = Hyperparameters(batch_size=8, n_epochs=bench.epochs or 1)
    rows = bench.workload.file(count, seed=500)
    tokens = size(bench.workload.rows(count, seed=500))

    def ours(_round: int) -> Run:
        return bench.ours({"jobs": [bench.job("one", rows, hyperparameters, "ours")]})

    def trl(mode: str) -> Run:
        jobs = [bench.job("one", rows, hyperparameters, mode)]
        return bench.trl({"mode": mode, "jobs": jobs})

    runs = alternate(
        bench.repeats,
        {
            "ours": ours,
            "TRL padding-free": lambda _: trl("padding_free"),
            "TRL padded": lambda _: trl("padded"),
        },
    )
    loop = {side: [tokens_per_second(run) for run in each] for side, each in runs.items()}
    whole = {
        side: [run.account["jobs"][0]["tokens"] / run.wall for run in each]
        for side, each in runs.items()
    }
    best = max(
        ("TRL padding-free", "TRL padded"),
        key=lambda side: sorted(loop[side])[len(loop[side]) // 2],
    )
    section = Section(1, "One job of 500 short examples, against TRL")
    section.held_equal = bench.held_equal(
        hyperparameters, data=tokens, steps=[run.steps for run in (runs["ours"][0], runs[best][0])]
    )
    section.figures = [
        Figure.of(
            "tokens/s of the training loop, ours over TRL",
            ratios(loop["ours"], loop[best]),
            "x",
            target=1.3,
            note=f"against the better of TRL's two ways, here {best}",
        ),
        Figure.of(
            "tokens/s of the whole process, ours over TRL", ratios(whole["ours"], whole[best]), "x"
        ),
    ]
    section.figures += [Figure.of(f"{side}, loop", loop[side], "tokens/s") for side in loop]
    section.figures += [Figure.of(f"{side}, process", whole[side], "tokens/s") for side in whole]
    adapters = [bench.folder / "adapters" / side / "one" for side in ("ours", "padding_free")]
    losses = [mean_loss(bench.workload.model, adapter, rows) for adapter in adapters]
    section.figures.append(loss_agreement(*losses))
    section.method = [
        "Loop: from the first batch to the end of the last step (TRL: on_train_begin to",
        "on_train_end). Process: from its start to its end, imports and base load included.",
    ]
    section.runs = {side: [run.raw() for run in each] for side, each in runs.items()}
    return section


def tokens_per_second(run: Run) -> float:
    """Of the training loops of a run's jobs, real tokens, padding not counted."""
    jobs = run.account["jobs"]
    return float(sum(job["tokens"] for job in jobs) / sum(job["loop_seconds"] for job in jobs))
