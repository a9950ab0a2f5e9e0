"""Learning rate by step: a pure function, so that it has no state to lose."""

from __future__ import annotations


def learning_rate(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to `peak`, then linear decay towards zero.

    Args:
        step: 0-based optimizer step.
        total_steps: optimizer steps in all.
        warmup_steps: steps of warm-up; the last of them has the peak rate.
        peak: the highest rate.

    Returns:
        A rate above zero at every step: the decay would reach zero one step after the last.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (total_steps - step) / (total_steps - min(warmup_steps, total_steps - 1))
