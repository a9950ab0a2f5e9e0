"""`tunesmith plan`: how many GPUs a number of tenants needs. Needs no server."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.platform.capacity.plot import check_format
from tunesmith.platform.domain.errors import InvalidRequest

from .connection import AsJson
from .errors import CommandFailed
from .output import console, print_json, print_table

if TYPE_CHECKING:
    from tunesmith.platform.capacity.calibration import Calibration
    from tunesmith.platform.capacity.plan import Plan

_LOAD, _WORK, _FLEET, _TARGETS = "What is asked", "A job, a request", "Hardware", "Targets"
_RATE = re.compile(r"(\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)(?:/(s|second|min|minute|h|hour|day|d))?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FLAGS = {
    "tenants": "--tenants",
    "jobs_per_day": "--jobs-per-day",
    "requests_per_second": "--requests",
    "models_per_tenant": "--models-per-tenant",
    "example_tokens": "--example-tokens",
    "prompt_tokens": "--prompt-tokens",
    "completion_tokens": "--completion-tokens",
    "base_size": "--base-size",
    "exponent": "--popularity",
    **{name: f"--{name}" for name in ("peak", "bases", "examples", "epochs", "batch", "rank")},
    **{name: f"--{name}" for name in ("gpu", "calibration")},
}


def plan(
    tenants: Annotated[
        int, typer.Option(help="Tenants.", rich_help_panel=_LOAD, show_default=False)
    ],
    jobs_per_day: Annotated[
        float, typer.Option(help="Fine-tuning jobs a day.", rich_help_panel=_LOAD)
    ],
    requests: Annotated[
        str,
        typer.Option(
            help="Requests to tuned models: 20/s, 90/min, 2e6/day; a bare number is a second's.",
            metavar="N[/UNIT]",
            rich_help_panel=_LOAD,
        ),
    ],
    peak: Annotated[
        float, typer.Option(help="Busiest moment over the day's mean.", rich_help_panel=_LOAD)
    ] = 2.0,
    models_per_tenant: Annotated[
        float, typer.Option(help="Tuned models that a tenant asks.", rich_help_panel=_LOAD)
    ] = 3.0,
    popularity: Annotated[
        float,
        typer.Option(help="Zipf's exponent of tenants and models.", rich_help_panel=_LOAD),
    ] = 1.0,
    bases: Annotated[
        int, typer.Option(help="Bases, each with its share.", rich_help_panel=_LOAD)
    ] = 1,
    examples: Annotated[
        float, typer.Option(help="Examples of a job.", rich_help_panel=_WORK)
    ] = 500,
    epochs: Annotated[float, typer.Option(help="Epochs of a job.", rich_help_panel=_WORK)] = 3,
    example_tokens: Annotated[
        float, typer.Option(help="Tokens of an example.", rich_help_panel=_WORK)
    ] = 300,
    batch: Annotated[int, typer.Option(help="Examples of a step.", rich_help_panel=_WORK)] = 4,
    rank: Annotated[int, typer.Option(help="LoRA rank.", rich_help_panel=_WORK)] = 16,
    prompt_tokens: Annotated[
        float, typer.Option(help="Tokens of a prompt.", rich_help_panel=_WORK)
    ] = 400,
    completion_tokens: Annotated[
        float, typer.Option(help="Tokens of an answer.", rich_help_panel=_WORK)
    ] = 150,
    evaluations: Annotated[
        bool,
        typer.Option(
            "--evaluations/--no-evaluations",
            help="Count the requests of evaluations.",
            rich_help_panel=_WORK,
        ),
    ] = True,
    base_size: Annotated[
        str, typer.Option(help="As 8b, 1.5b or pocket.", rich_help_panel=_FLEET)
    ] = "8b",
    gpu: Annotated[
        str,
        typer.Option(
            help="a10g, l4, a100, h100, h200, cpu, or your calibration's.", rich_help_panel=_FLEET
        ),
    ] = "a100",
    gpu_hour_price: Annotated[
        float | None,
        typer.Option(
            min=0, help="Of one GPU; else a list price.", rich_help_panel=_FLEET, show_default=False
        ),
    ] = None,
    slots: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Jobs of a cohort at most.", rich_help_panel=_FLEET),
    ] = 16,
    cohort_idle: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds until an idle GPU is given back.", rich_help_panel=_FLEET
        ),
    ] = 300.0,
    cohorts_per_base: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cohorts of a base at once, where that is limited.",
            rich_help_panel=_FLEET,
        ),
    ] = None,
    queue_wait_target: Annotated[
        str,
        typer.Option(help="95 % of jobs start within: 90s, 10m.", rich_help_panel=_TARGETS),
    ] = "10m",
    ttft_target: Annotated[
        str,
        typer.Option(help="95 % of first tokens come within.", rich_help_panel=_TARGETS),
    ] = "2s",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of your measured figures, in the place of ours.", show_default=False
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also list what the plan rests on, with sources.")
    ] = False,
    values: Annotated[
        bool, typer.Option("--values", help="Print values of the Helm chart and nothing else.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw it: a file .svg or .png.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation's chance.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Size GPUs, gateways and database for tenants: what it costs, and what users will feel.

    An estimate, confirmed by a simulation of queue, cohorts and engines; a few seconds.
    """
    if values and as_json:
        raise CommandFailed("--values and --json exclude each other.")
    if plot is not None:
        check_format(plot)
    found, figures_of = _make(
        {
            "tenants": tenants,
            "jobs_per_day": jobs_per_day,
            "requests_per_second": _per_second(requests),
            "peak": peak,
            "models_per_tenant": models_per_tenant,
            "exponent": popularity,
            "bases": bases,
            "examples": examples,
            "epochs": epochs,
            "example_tokens": example_tokens,
            "batch": batch,
            "rank": rank,
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "evaluated": evaluations,
        },
        gpu.lower(),
        base_size,
        (
            _duration("--queue-wait-target", queue_wait_target),
            _duration("--ttft-target", ttft_target),
        ),
        calibration,
        slots=slots,
        idle_seconds=cohort_idle,
        per_base=cohorts_per_base,
        hour_price=gpu_hour_price,
        seed=seed,
    )
    if plot is not None:
        _draw(found, plot)
    if as_json:
        print_json(found.as_json())
        return
    if values:
        from tunesmith.platform.capacity.values import chart_values

        memory = figures_of[f"hardware.{found.hardware}.memory_gib"]
        print(chart_values(found, memory), end="")
        return
    _show(found)
    if figures:
        _list_figures(found)
    if plot is not None:
        console().print(f"\nThe plot is in {plot}.")


def _make(
    asked: dict[str, object],
    gpu: str,
    base_size: str,
    targets: tuple[float, float],
    calibration: Path | None,
    **options: object,
) -> tuple[Plan, Calibration]:
    try:
        from tunesmith.platform.capacity.calibration import read_calibration
        from tunesmith.platform.capacity.plan import Targets, make_plan
        from tunesmith.platform.capacity.workload import Workload
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"A plan needs {error.name}, which is not installed: pip install 'tunesmith[analysis]'."
        ) from error
    try:
        workload = Workload(**asked)  # type: ignore[arg-type]
        read = read_calibration(calibration)
        given = {name: value for name, value in options.items() if value is not None}
        made = make_plan(workload, gpu, base_size, Targets(*targets), read, **given)  # type: ignore[arg-type]
    except InvalidRequest as error:
        flag = _FLAGS.get(error.param or "")
        message = error.message
        if flag is not None and error.param is not None:
            message = message.replace(f"{error.param} must", f"{flag} must")
        raise CommandFailed(message) from error
    return made, read


def _per_second(text: str) -> float:
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise CommandFailed(
            f"--requests {text}: give a number with its unit, as 20/s, 90/min or 2e6/day."
        )
    return float(found[1]) / _SECONDS[(found[2] or "s")[0]]


def _duration(flag: str, text: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\s*", text)
    seconds = float(found[1]) * {"ms": 0.001, **_SECONDS}[found[2] or "s"] if found else 0.0
    if seconds <= 0:
        raise CommandFailed(f"{flag} {text}: give a time above 0, as 1.5s, 500ms, 10m or 2h.")
    return seconds


def _draw(plan: Plan, path: Path) -> None:
    from tunesmith.platform.capacity.plot import write_plot

    try:
        write_plot(plan, path)
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"Plots need {error.name}, which is not installed: pip install 'tunesmith[analysis]'."
        ) from error
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from error


def _show(plan: Plan) -> None:
    from tunesmith.platform.capacity import sentences

    out = console()
    work = plan.workload
    out.print(
        f"{work.tenants:,} tenants, {work.jobs_per_day:,g} jobs a day,"
        f" {work.requests_per_second:,.3g} requests/s (at the peak {work.peak:g} times as many);"
        f" base {plan.shape.name} on {plan.hardware}",
        style="bold",
        markup=False,
    )
    out.print()
    print_table(("you need", ""), sentences.needs(plan), empty="")
    out.print()
    print_table(("users feel", "median / 95 of 100", ""), sentences.feels(plan), empty="")
    out.print()
    print_table(
        ("part", "planned", "busy at the peak", ""),
        (
            (part.name, part.planned, f"{100 * part.busy:,.0f} %", sentences.growth(part))
            for part in sorted(plan.parts, key=lambda part: -part.busy)
        ),
        empty="",
    )
    out.print()
    out.print(sentences.saturation(plan), markup=False)
    for warning in plan.warnings:
        out.print(f"! {warning}", style="yellow", markup=False)
    out.print("\nHow sure", style="bold")
    for sentence in sentences.confidence(plan):
        out.print(f"  {sentence}", markup=False)


def _list_figures(plan: Plan) -> None:
    console().print()
    print_table(
        ("figure", "value", "basis", "source"),
        (
            (figure.name, f"{figure.value:g} {figure.unit}", figure.basis, figure.source)
            for figure in plan.figures
        ),
        empty="",
    )
