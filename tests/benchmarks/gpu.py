"""The trainer's core on an accelerator, with torch, transformers and peft alone.

`PYTHONPATH=workers python -m tests.benchmarks.gpu [--shape llama-8b qwen-1.5b]`, from the
repository's root; `--device cpu --shape tiny` is its own smoke test.

A base of a real shape with random weights in bfloat16 (float32 on a CPU): exactness against stock
PEFT in float32 on the same shape with fewer layers, then tokens/s and peak memory for 1 to 32
slots against PEFT one after another, and TFLOP/s against the measured peak of a matrix product.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

from .exactness import gradients_apart, parameters_apart
from .figures import Figure, Section, table, write
from .machine import ROOT, machine, versions
from .shapes import NAMES, make_base, make_model, random_rows
from .stepping import stepped
from .stock_peft import StockPeft

GIB = 2**30
SLOTS = (1, 4, 16, 32)
WARM_UP = 2
"""Steps of each slot before the clock starts."""


def main(arguments: list[str] | None = None) -> int:
    """Measure every shape, print, write; 1 without the device that was asked for."""
    options = _parser().parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(
            "gpu: torch sees no CUDA device. Run this on a machine with one, or smoke-test it with "
            "--device cpu --shape tiny.",
            file=sys.stderr,
        )
        return 1
    torch.backends.cuda.matmul.allow_tf32 = False
    peak = matrix_peak(options.device)
    sections = []
    context = {
        "name": "gpu",
        "machine": machine() | {"accelerator": _accelerator(options.device)},
        "versions": versions() | {"cuda": torch.version.cuda},
        "options": {key: str(value) for key, value in vars(options).items()},
    }
    for number, shape in enumerate(options.shape, start=1):
        section = measure(number, shape, options, peak)
        sections.append(section)
        print(f"{table(section)}\n", flush=True)
        write(options.output, sections, context)
    print(f"{options.output} holds every run's raw figures.")
    return 0


def measure(number: int, shape: str, options: argparse.Namespace, peak: float) -> Section:
    """Everything of one shape."""
    device, dtype = options.device, _dtype(options.device)
    lengths = tuple(options.lengths)
    section = Section(number, f"{shape}, {dtype} on {_accelerator(device)}")
    _exactness(section, shape, device, options.exact_layers)
    steps = options.steps + WARM_UP
    data = [
        random_rows(shape, options.batch * steps, seed, lengths)
        for seed in range(max(options.slots))
    ]
    specs = [
        SlotSpec(
            f"slot-{seed}", options.rank, 2.0 * options.rank, 1e-4, 1, options.batch, seed=seed
        )
        for seed in range(max(options.slots))
    ]
    base = make_base(shape, device, dtype)
    flops = flops_per_token(base, options.rank, data[0])
    ours: dict[int, float] = {}
    for slots in options.slots:
        found = [
            cohort_run(base, specs[:slots], data[:slots], options.tokens_per_pass)
            for _ in range(options.repeats)
        ]
        section.runs[f"{slots} slots"] = found
        ours[slots] = statistics.median(run["tokens_per_second"] for run in found)
        section.figures += _figures(f"{slots} slots", found, flops, peak)
    del base
    _free()
    model = make_model(shape, device, dtype)
    model.requires_grad_(False)
    found = [peft_run(model, specs[:2], data[:2]) for _ in range(options.repeats)]
    section.runs["PEFT one after another"] = found
    section.figures += _figures("PEFT one after another", found, flops, peak)
    theirs = statistics.median(run["tokens_per_second"] for run in found)
    section.figures += [
        Figure(f"{slots} slots, over PEFT one after another", rate / theirs, "x")
        for slots, rate in ours.items()
    ]
    section.figures.append(Figure("peak of a matrix product, measured", peak / 1e12, "TFLOP/s"))
    del model
    _free()
    section.held_equal = {
        "rows": f"random, {lengths[0]} to {lengths[1]} tokens, the second half learned",
        "rank": options.rank,
        "batch": options.batch,
        "steps per slot": options.steps,
        "targets": "every linear layer but the output embedding",
        "optimizer": "AdamW, clipping at 1",
    }
    section.method = [
        f"{WARM_UP} steps of each slot are not timed. PEFT trains two jobs one after another on",
        "one base, batches padded to their longest row; its rate does not depend on how many",
        "follow. FLOP per token: 4 per weight of the base's linear layers (forward, and backward",
        "to the inputs: frozen weights have no gradient), 6 per LoRA parameter, 4 per weight of",
        "the output embedding at learned tokens; attention's products and padding count nothing.",
    ]
    return section


def _exactness(section: Section, shape: str, device: str, layers: int) -> None:
    """In float32: two layers of an 8B model and their optimizer fit where 32 would not."""
    base = make_base(shape, device, torch.float32, layers)
    model = make_model(shape, device, torch.float32, layers)
    lengths = (16, 48)
    gradient = gradients_apart(base, model, random_rows(shape, 4, 9, lengths))
    changes = parameters_apart(
        base,
        make_model(shape, device, torch.float32, layers),
        lambda count, seed: random_rows(shape, count, seed, lengths),
    )
    note = f"float32, {layers} layers of the shape, against stock PEFT, relative"
    section.figures += [
        Figure(
            "step-0 gradients, largest distance", gradient * 1e6, "e-6", target=10.0,
            higher_is_better=False, note=note,
        ),
        Figure(
            "change after 20 steps, largest distance", max(changes.values()) * 1e6, "e-6",
            target=1000.0, higher_is_better=False,
            note=note + "; mixed ranks and batches, slots joining and leaving",
        ),
    ]  # fmt: skip
    section.runs["exactness"] = [{"gradients": gradient, "changes": changes}]
    del base, model
    _free()


def cohort_run(
    base: Base, specs: Sequence[SlotSpec], data: Sequence[list[Row]], tokens_per_pass: int
) -> dict[str, float]:
    """Tokens/s and peak bytes of a cohort in which every slot takes the same steps."""
    _reset_peak(base.device)
    cohort = Cohort(base, tokens_per_pass=tokens_per_pass)
    for spec, rows in zip(specs, data, strict=True):
        cohort.join(spec, rows)
    while min(cohort.progress(spec.name).step for spec in specs) < WARM_UP:
        stepped(cohort)
    before, began = _trained(cohort), _now(base.device)
    while not cohort.idle:
        stepped(cohort)
    seconds = _now(base.device) - began
    tokens = _trained(cohort) - before
    for spec in specs:
        cohort.leave(spec.name)
    return _run(tokens, seconds, base.device)


def peft_run(model: Any, specs: Sequence[SlotSpec], data: Sequence[list[Row]]) -> dict[str, float]:
    """The same of stock PEFT, one job after another on one base."""
    device = model.device
    _reset_peak(device)
    tokens, seconds = 0, 0.0
    for spec, rows in zip(specs, data, strict=True):
        stock = StockPeft(model, spec)
        stock.train(rows, WARM_UP)
        began = _now(device)
        steps = len(rows) // spec.batch_size - WARM_UP
        tokens += stock.train(rows, steps, first=WARM_UP)
        seconds += _now(device) - began
        model = stock.unload()
    return _run(tokens, seconds, device)


def flops_per_token(base: Base, rank: int, rows: Sequence[Row]) -> float:
    """Floating-point operations of one trained token; the formula is in the section's method."""
    linears = sum(fan_in * fan_out for fan_in, fan_out in base.shape.linears.values())
    head = base.model.get_output_embeddings().weight.numel()
    learned = sum(row.learned_tokens for row in rows) / sum(len(row) for row in rows)
    lora = base.shape.lora_parameters(rank)
    return float(4 * linears + 6 * lora + 4 * head * learned)


def matrix_peak(device: str) -> float:
    """FLOP/s of a large square matrix product in the type that training uses."""
    size = 8192 if device.startswith("cuda") else 512
    dtype = _dtype(device)
    a = torch.randn(size, size, device=device, dtype=dtype)
    b = torch.randn(size, size, device=device, dtype=dtype)
    best = 0.0
    for _ in range(5):
        a @ b
        began = _now(torch.device(device))
        for _ in range(10):
            a @ b
        best = max(best, 10 * 2 * size**3 / (_now(torch.device(device)) - began))
    return best


def _figures(
    name: str, found: Sequence[dict[str, float]], flops: float, peak: float
) -> list[Figure]:
    rates = [run["tokens_per_second"] for run in found]
    figures = [
        Figure.of(f"{name}, throughput", rates, "tokens/s"),
        Figure.of(f"{name}, achieved", [rate * flops / 1e12 for rate in rates], "TFLOP/s"),
        Figure.of(
            f"{name}, of the matrix peak", [100 * rate * flops / peak for rate in rates], "%"
        ),
    ]
    if all("peak_bytes" in run for run in found):
        memory = [run["peak_bytes"] / GIB for run in found]
        figures.append(Figure.of(f"{name}, peak memory", memory, "GiB", higher_is_better=False))
    return figures


def _run(tokens: int, seconds: float, device: torch.device) -> dict[str, float]:
    run = {"tokens": tokens, "seconds": seconds, "tokens_per_second": tokens / seconds}
    if device.type == "cuda":
        run["peak_bytes"] = torch.cuda.max_memory_allocated(device)
    return run


def _trained(cohort: Cohort) -> int:
    return sum(cohort.progress(name).trained_tokens for name in cohort.slots)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reset_peak(device: torch.device) -> None:
    _free()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _dtype(device: str) -> torch.dtype:
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def _accelerator(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu", description="The trainer's core on an accelerator."
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a smoke test")
    parser.add_argument(
        "--shape", nargs="+", choices=NAMES, default=["qwen-1.5b", "llama-8b"], metavar="NAME",
        help=", ".join(NAMES),
    )  # fmt: skip
    parser.add_argument("--slots", type=int, nargs="+", default=list(SLOTS), metavar="N")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4, help="rows per optimizer step")
    parser.add_argument("--lengths", type=int, nargs=2, default=[20, 500], metavar="N")
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each slot")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tokens-per-pass", type=int, default=8192)
    parser.add_argument("--exact-layers", type=int, default=2, help="layers of the exactness check")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "gpu.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
