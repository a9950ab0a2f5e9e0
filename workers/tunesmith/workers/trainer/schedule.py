"""Learning rate by step: a pure function, so that it has no state to lose."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "constant"]


def learning_rate(
    step: int, total_steps: int, warmup_steps: int, peak: float, schedule: Schedule = "linear"
) -> float:
    """Linear warm-up to `peak`, then decay towards zero, or none.

    Args:
        step: 0-based optimizer step.
        total_steps: optimizer steps in all.
        warmup_steps: steps of warm-up; the last of them has the peak rate.
        peak: the highest rate.
        schedule: "linear" decay, "cosine" decay (half a period), or "constant".

    Returns:
        A rate above zero at every step: a decay would reach zero one step after the last.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    left = (total_steps - step) / (total_steps - min(warmup_steps, total_steps - 1))
    if schedule == "linear":
        return peak * left
    return peak * 0.5 * (1 - math.cos(math.pi * min(1.0, left)))
