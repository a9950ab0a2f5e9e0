"""Section 3: memory of sixteen slots, against processes and against the arithmetic."""

from __future__ import annotations

from dataclasses import replace

from tunesmith.workers.trainer.base import load_shape

from .figures import Figure, Section, alternate, ratios
from .plan import Hyperparameters, Run
from .sides import Bench

MIB = 2**20
BYTES_PER_PARAMETER = 16
"""float32 weight, gradient and AdamW's two moments."""


def measure(bench: Bench) -> Section:
    """Peak resident memory with 1 and 16 slots under the same budget per pass."""
    slots = 4 if bench.quick else 16
    hyperparameters = Hyperparameters(rank=32)
    count = 64 if bench.quick else 100
    files = [bench.workload.file(count, seed=number) for number in range(slots)]
    parameters = load_shape(bench.workload.model).lora_parameters(hyperparameters.rank)
    arithmetic = BYTES_PER_PARAMETER * parameters

    def resident(number: int) -> Run:
        # One slot must fill the same pass as sixteen do, or the growth would be that of the pass.
        each = replace(hyperparameters, batch_size=max(1, 64 // number))
        jobs = [
            bench.job(f"slot-{n}", file, each, "memory") for n, file in enumerate(files[:number])
        ]
        return bench.ours({"mode": "resident", "steps": 1 if bench.quick else 4, "jobs": jobs})

    def trl(_round: int) -> Run:
        each = replace(hyperparameters, n_epochs=1)
        return bench.trl({"jobs": [bench.job("one", files[0], each, "memory-trl")]})

    rounds = 1 if bench.quick else min(3, bench.repeats)
    runs = alternate(
        rounds,
        {
            "1 slot": lambda _: resident(1),
            f"{slots} slots": lambda _: resident(slots),
            "TRL": trl,
        },
    )
    one, many, peer = (
        [float(run.account["peak_rss_bytes"]) for run in each] for each in runs.values()
    )
    grown = [(m - o) / (slots - 1) for m, o in zip(many, one, strict=True)]
    held = [
        (m.account["trained"]["tensor_bytes"] - o.account["trained"]["tensor_bytes"]) / (slots - 1)
        for m, o in zip(runs[f"{slots} slots"], runs["1 slot"], strict=True)
    ]
    section = Section(3, f"Peak memory of {slots} resident slots")
    section.held_equal = {
        "model": "pocket base, float32",
        "rank": hyperparameters.rank,
        "parameters per slot": parameters,
        "rows per pass": "64 short rows in all, from 1 slot or from 16",
    }
    section.figures = [
        Figure.of(
            f"{slots} TRL processes, over {slots} of our slots",
            ratios([slots * value for value in peer], many),
            "x",
            note=(
                f"{slots} times the peak of one TRL process, not {slots} at once: shared pages of "
                "the libraries would lower the sum"
            ),
        ),
        Figure.of(
            f"{slots} of our slots, over one TRL process",
            ratios(many, peer),
            "x",
            higher_is_better=False,
        ),
        Figure.of(
            "growth per slot, over 16 bytes per LoRA parameter",
            [value / arithmetic for value in grown],
            "x",
            target=1.1,
            higher_is_better=False,
            note=(
                f"by peak resident memory: {grown[0] / MIB:.1f} MiB a slot in round 1, the "
                f"arithmetic says {arithmetic / MIB:.1f} MiB"
            ),
        ),
        Figure.of(
            "growth per slot between steps, over 16 bytes per LoRA parameter",
            [value / arithmetic for value in held],
            "x",
            higher_is_better=False,
            note="by the sizes of all live tensors; 0.75 where gradients are freed after a step",
        ),
        Figure.of("1 slot, peak", [value / MIB for value in one], "MiB", higher_is_better=False),
        Figure.of(
            f"{slots} slots, peak", [value / MIB for value in many], "MiB", higher_is_better=False
        ),
        Figure.of(
            "one TRL process, peak", [value / MIB for value in peer], "MiB", higher_is_better=False
        ),
    ]
    section.method = ["Peak: VmHWM, which each process reads of itself at its end."]
    section.runs = {side: [run.raw() for run in each] for side, each in runs.items()}
    return section
