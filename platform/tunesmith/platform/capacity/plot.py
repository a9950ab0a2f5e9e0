"""A plan as a picture: waits, first tokens, and how busy each part is.

Needs matplotlib (the extra `analysis`), which is imported when a picture is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.platform.domain.errors import InvalidRequest

if TYPE_CHECKING:  # it needs simpy, and the command line looks at `check_format` alone
    from .plan import Plan

FORMATS = (".svg", ".png")
_BLUE, _ORANGE, _INK, _PALE = "#0072b2", "#d55e00", "#333333", "#e8e8e8"
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "tunesmith",  # the same figures give the same file
}


def check_format(path: Path) -> None:
    """Refuse a file that no plot can be written to, before work is done for it.

    Raises:
        InvalidRequest: it has another ending.
    """
    if path.suffix.lower() not in FORMATS:
        raise InvalidRequest(f"A plot's file must end in {' or '.join(FORMATS)}; {path} does not.")


def write_plot(plan: Plan, path: Path) -> None:
    """Draw a plan to a file, by its ending: .svg or .png.

    Raises:
        InvalidRequest: it has another ending.
        ModuleNotFoundError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    check_format(path)
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        waits, tokens, parts = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
        _distribution(
            waits,
            [value / 60 for value in plan.training.outcome.waits],
            plan.targets.queue_wait / 60,
            "a job's wait, minutes",
        )
        _distribution(
            tokens,
            plan.serving.outcome.first_tokens,
            plan.targets.first_token,
            "time to the first token, seconds",
        )
        _busy(parts, plan)
        work = plan.workload
        figure.suptitle(
            f"{work.tenants:,} tenants, {work.jobs_per_day:,g} jobs a day,"
            f" {work.requests_per_second:,g} requests/s; {plan.shape.name} on {plan.hardware}:"
            f" {plan.training.least} to {plan.training.most} GPUs to train,"
            f" {plan.engine_gpus} to serve",
            fontsize=10,
        )
        figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _distribution(axes: Any, values: Sequence[float], target: float, title: str) -> None:
    """Share of those that take at most so long."""
    ordered = sorted(values)
    axes.set_title(title, fontsize=9, loc="left")
    if ordered:
        step = max(1, len(ordered) // 500)  # a file for reading, not for all points
        picked = [*range(0, len(ordered), step), len(ordered) - 1]
        axes.plot(
            [ordered[n] for n in picked],
            [100 * (n + 1) / len(ordered) for n in picked],
            color=_BLUE,
            lw=1.5,
        )
    axes.axvline(target, color=_ORANGE, lw=1)
    axes.text(target, 3, " target", color=_ORANGE, fontsize=8)
    axes.axhline(95, color=_PALE, lw=0.8)
    axes.set_ylabel("% of all")
    axes.set_ylim(0, 101)
    axes.set_xlim(left=0)


def _busy(axes: Any, plan: Plan) -> None:
    parts = sorted(plan.parts, key=lambda part: part.busy)
    shown = [min(150.0, 100 * part.busy) for part in parts]
    colours = [_ORANGE if part.busy >= 0.9 else _BLUE for part in parts]
    axes.barh([part.name for part in parts], shown, color=colours, height=0.6)
    for row, part in enumerate(parts):
        axes.text(shown[row] + 1, row, f"{100 * part.busy:,.0f} %", va="center", fontsize=8)
    axes.axvline(100, color=_INK, lw=0.8)
    axes.set_xlim(0, 165)
    axes.tick_params(axis="y", length=0)
    axes.set_title("busy at the peak", fontsize=9, loc="left")
