"""Section 3: plans for 10, 1,000 and 100,000 tenants, and where each part is full. Simulated."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.figures import Figure, Section

from tunesmith.platform.capacity.calibration import Calibration
from tunesmith.platform.capacity.plan import Plan, Targets, make_plan
from tunesmith.platform.capacity.workload import Workload

from . import plots

HARDWARE, BASE = "a100", "8b"
JOBS_PER_TENANT, REQUESTS_PER_TENANT = 0.1, 0.01
"""A day, and a second: a job every ten days, 864 requests a day."""
TENANTS = (10, 1_000, 100_000)
MANY = 10_000
"""Cohorts of a base at once: plans are made without the dispatcher's limit, and parts with it."""


def measure(calibration: Calibration, docs: Path | None, *, quick: bool) -> Section:
    """Plans by size.

    Args:
        docs: folder of the plots; none are drawn where it is None.
    """
    section = Section(3, f"From 10 to 100,000 tenants, base {BASE} on {HARDWARE} (simulated)")
    counts = TENANTS[:2] if quick else TENANTS
    between = () if quick else (30, 100, 300, 3_000, 10_000, 30_000)
    plans: dict[int, Plan] = {}
    for tenants in sorted({*counts, *between}):
        workload = Workload(
            tenants=tenants,
            jobs_per_day=tenants * JOBS_PER_TENANT,
            requests_per_second=tenants * REQUESTS_PER_TENANT,
        )
        plans[tenants] = made = make_plan(
            workload, HARDWARE, BASE, Targets(), calibration, per_base=MANY
        )
        section.runs[f"{tenants} tenants"] = [made.as_json()]
        if tenants not in counts:
            continue
        name = f"{tenants:,} tenants"
        section.figures += [
            Figure(f"{name}, GPUs to train, most", made.training.most, "GPUs"),
            Figure(f"{name}, GPUs to train, mean", made.training.workers_mean, "GPUs"),
            Figure(f"{name}, engines", made.engines, "engines"),
            Figure(f"{name}, gateways", made.gateways, "gateways"),
            Figure(f"{name}, p95 of a job's wait", made.training.wait(0.95), "s"),
            Figure(f"{name}, p95 of the first token", made.serving.first_token(0.95), "s"),
            Figure(f"{name}, cold share", 100 * made.serving.cold_share, "%"),
            Figure(
                f"{name}, database after a year", made.database.bytes_after_a_year / 1e9, "GB"
            ),
            Figure(
                f"{name}, dispatcher busy", 100 * _part(made, "dispatcher"), "%",
                higher_is_better=False, note=f"first full: {made.first_full.name}",
            ),
            Figure(
                f"{name}, GPUs a month", made.training_cost + made.engine_cost, "USD",
                higher_is_better=False,
            ),
        ]  # fmt: skip
    section.method = [
        f"A tenant creates {JOBS_PER_TENANT:g} jobs a day and sends {REQUESTS_PER_TENANT:g}"
        " requests a second in the mean, twice as many at the peak.",
    ]
    if docs is not None:
        plots.plan_by_size(docs / "scale-fleet.svg", plans)
        plots.busy_by_size(docs / "scale-parts.svg", plans)
    return section


def _part(plan: Plan, name: str) -> float:
    return next(part.busy for part in plan.parts if part.name == name)
