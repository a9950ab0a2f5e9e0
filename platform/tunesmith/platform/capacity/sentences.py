"""What a plan says to people."""

from __future__ import annotations

import math

from tunesmith.platform.following import duration

from .plan import Part, Plan


def needs(plan: Plan) -> list[tuple[str, str]]:
    """What to have, a line for each thing."""
    training, engine = plan.training, plan.engine
    several = f" of {engine.gpus} GPUs" if engine.gpus > 1 else ""
    bases = f" for {plan.workload.bases} bases" if plan.workload.bases > 1 else ""
    return [
        (
            "GPUs to train",
            f"{_range(training.least, training.most)} x {plan.hardware},"
            f" {training.workers_mean:.1f} in the mean; {plan.cohort.slots} jobs each",
        ),
        (
            "GPUs to serve",
            f"{plan.engine_gpus} x {plan.hardware}: {plan.engines} engines{several}{bases}"
            f" ({engine.max_loras} adapters in a batch, {engine.max_cpu_loras} in host memory)",
        ),
        ("gateways", f"{plan.gateways}, a core each"),
        (
            "PostgreSQL",
            f"{size(plan.database.bytes_after_a_year)} after a year,"
            f" {plan.database.writes_per_second:,.0f} rows/s at the peak,"
            f" max_connections {plan.database.connections}",
        ),
        ("a month", cost(plan)),
    ]


def cost(plan: Plan) -> str:
    """Of the GPUs: the rest is small beside them, and differs by cloud."""
    if not plan.hour_price:
        return "no GPU, no price"
    return (
        f"{plan.training_cost + plan.engine_cost:,.0f} USD for GPUs at {plan.hour_price:g} an hour:"
        f" {plan.training_cost:,.0f} to train, {plan.engine_cost:,.0f} to serve"
    )


def feels(plan: Plan) -> list[tuple[str, str, str]]:
    """What users feel: median, 95th of 100, and the target."""
    training, serving = plan.training, plan.serving
    return [
        (
            "a job waits",
            f"{seconds(training.wait(0.5))} / {seconds(training.wait(0.95))}",
            _target(plan.targets.queue_wait, training.met),
        ),
        (
            "a job trains",
            f"{seconds(training.training(0.5))} / {seconds(training.training(0.95))}",
            "",
        ),
        (
            "first token",
            f"{seconds(serving.first_token(0.5))} / {seconds(serving.first_token(0.95))}",
            _target(plan.targets.first_token, serving.met),
        ),
        ("requests that wait for an adapter's load", f"{100 * serving.cold_share:.1f} %", ""),
    ]


def saturation(plan: Plan) -> str:
    """What is full first."""
    part = plan.first_full
    return (
        f"Saturates first: {part.name}, {100 * part.busy:.0f} % busy at the peak"
        f" ({growth(part)}). Change {part.change}."
    )


def growth(part: Part) -> str:
    """How much more it takes."""
    if part.busy <= 0:
        return "idle"
    if part.busy >= 1:
        return "full"
    return f"full at {1 / part.busy:.3g} times this load"


def confidence(plan: Plan) -> list[str]:
    """How sure it is, and why no surer."""
    assumed = plan.unmeasured
    fewest, most = plan.training_range
    few, many = plan.engines_range
    found = [
        f"If a GPU {plan.hardware} is 30 % faster or slower than taken:"
        f" GPUs to train {_range(fewest, most)}, engines {_range(few, many)}.",
        f"Simulated: {len(plan.training.outcome.waits):,} jobs,"
        f" {plan.serving.outcome.requests:,} requests in the busiest hour (seed {plan.seed}).",
    ]
    if assumed:
        found.append(
            f"{len(assumed)} of the {len(plan.figures)} figures that this rests on are assumptions,"
            " not measurements. Those that matter most: GPU speed in training, memory bandwidth"
            " and FLOP/s that engines reach, a worker's start, storage. Put yours into"
            " --calibration FILE (--figures lists all, with their sources)."
        )
    return found


def seconds(value: float) -> str:
    """0.25 s, 3.4 s, 5 min 20 s."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.2g} s" if value < 10 else duration(value)


def size(count: float) -> str:
    """Bytes as MB, GB or TB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{max(1.0, count / 1e6):.0f} MB"


def _target(target: float, met: bool) -> str:
    return f"target {seconds(target)}, {'met' if met else 'MISSED'}"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
