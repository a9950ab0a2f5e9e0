"""Whether slots of a cohort equal stock PEFT: step-0 gradients, and parameters after 20 steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from tunesmith.workers.trainer.adapter import read_tensors
from tunesmith.workers.trainer.base import Base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.data_order import DataOrder
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

from .stepping import stepped
from .stock_peft import StockPeft

STEPS = 20
_BETA1 = 0.9


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Norm of the difference over the norm of the reference."""
    theirs = theirs.detach().float().cpu()
    return float((ours.float().cpu() - theirs).norm() / theirs.norm().clamp_min(1e-12))


def gradients_apart(base: Base, model: Any, rows: list[Row], lora_rank: int = 8) -> float:
    """Largest relative distance of a module's first gradient, in float32.

    After one step of AdamW from zero moments, exp_avg is (1 - beta1) times the gradient. Only
    B's: A's gradient is zero at the start, because B is.
    """
    spec = SlotSpec("one", lora_rank, 16.0, 1e-3, 1, len(rows), max_grad_norm=1e9)
    cohort = Cohort(base)
    cohort.join(spec, rows)
    initial = read_tensors(cohort.adapter("one"))
    _until(cohort, "one", 1)
    moments = cohort.state("one").tensors
    cohort.leave("one")
    stock = StockPeft(model, spec, initial)
    stock.backward([rows[index] for index in DataOrder(len(rows), len(rows), 1, 0).batch(0)])
    distances = [
        apart(moments[f"exp_avg/{_ours(name)}"] / (1 - _BETA1), _gradient(parameter))
        for name, parameter in stock.named.items()
        if "lora_B" in name
    ]
    stock.unload()
    return max(distances)


def parameters_apart(
    base: Base, model: Any, rows: Callable[[int, int], list[Row]]
) -> dict[str, float]:
    """Relative distance of the parameters' change after 20 steps, of each slot that stays.

    Three slots of mixed ranks, rates and batches; the second joins when the first has done 3
    steps, a third passes by.

    Args:
        base: the resident base, float32.
        model: an own copy of it for stock PEFT.
        rows: (count, seed) -> rows.
    """
    first = SlotSpec("first", 4, 8.0, 2e-3, STEPS, 4, seed=1)
    second = SlotSpec("second", 16, 32.0, 1e-3, STEPS, 3, seed=2)
    data = {"first": rows(4, 1), "second": rows(3, 2)}
    cohort = Cohort(base)
    initial = {}
    cohort.join(first, data["first"])
    initial["first"] = read_tensors(cohort.adapter("first"))
    _until(cohort, "first", 3)
    cohort.join(replace(first, name="passer-by", rank=2, seed=3), rows(5, 3))
    cohort.join(second, data["second"])
    initial["second"] = read_tensors(cohort.adapter("second"))
    _until(cohort, "second", 4)
    cohort.leave("passer-by")
    _until(cohort, "first", STEPS)
    _until(cohort, "second", STEPS)
    distances = {}
    for spec in (first, second):
        ours = read_tensors(cohort.adapter(spec.name))
        cohort.leave(spec.name)
        stock = StockPeft(model, spec, initial[spec.name])
        stock.train(data[spec.name], STEPS)
        distances[spec.name] = max(
            apart(ours[name] - initial[spec.name][name], theirs.cpu() - initial[spec.name][name])
            for name, theirs in stock.named.items()
        )
        model = stock.unload()
    return distances


def _until(cohort: Cohort, name: str, steps: int) -> None:
    while cohort.progress(name).step < steps:
        stepped(cohort)


def _ours(name: str) -> str:
    return name.removeprefix("base_model.model.").removesuffix(".weight")


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        raise RuntimeError("stock PEFT left a parameter without a gradient")
    return parameter.grad
