"""The plots of docs/scale.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tunesmith.platform.capacity.estimate import offered_gpus
from tunesmith.platform.capacity.plan import Plan

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which colour-blind people tell apart."""


def plan_by_size(path: Path, plans: Mapping[int, Plan]) -> None:
    """What is needed, what it costs and what users feel, by tenants."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    need, cost, feel = figure.subplots(1, 3)
    sizes = sorted(plans)
    _lines(
        need, sizes,
        {
            "GPUs to train, most": [plans[n].training.most for n in sizes],
            "GPUs to train, mean": [max(0.01, plans[n].training.workers_mean) for n in sizes],
            "engines": [plans[n].engines for n in sizes],
            "gateways": [plans[n].gateways for n in sizes],
        },
    )  # fmt: skip
    need.set(title="how many", yscale="log")
    need.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    _lines(
        cost, sizes,
        {
            "to serve": [plans[n].engine_cost / n for n in sizes],
            "to train": [plans[n].training_cost / n for n in sizes],
        },
    )  # fmt: skip
    cost.set(title="USD of GPUs for each tenant and month", yscale="log")
    cost.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    _lines(
        feel, sizes,
        {
            "first token, p95, s": [plans[n].serving.first_token(0.95) for n in sizes],
            "a job's wait, p95, min": [plans[n].training.wait(0.95) / 60 for n in sizes],
            "cold requests, %": [100 * plans[n].serving.cold_share for n in sizes],
        },
    )  # fmt: skip
    feel.set(title="what users feel")
    feel.set_ylim(0, 1.4 * feel.get_ylim()[1])  # room for the legend
    feel.legend(fontsize=7, frameon=False, loc="upper right")
    _save(figure, path)


def busy_by_size(path: Path, plans: Mapping[int, Plan]) -> None:
    """How full the parts are of which there is one, by tenants."""
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    sizes = sorted(plans)

    def busy(name: str) -> list[float]:
        return [
            100 * next(part.busy for part in plans[n].parts if part.name == name) for n in sizes
        ]

    _lines(
        axes, sizes,
        {
            "one cohort (all there is of one base)": [
                100 * offered_gpus(plans[n].workload, plans[n].cohort) * plans[n].workload.peak
                for n in sizes
            ],
            "one dispatcher": busy("dispatcher"),
            "one gateway": [
                b * plans[n].gateways for n, b in zip(sizes, busy("gateways"), strict=True)
            ],
            "one engine": [
                b * plans[n].engines
                for n, b in zip(sizes, busy("engines, computing"), strict=True)
            ],
        },
    )  # fmt: skip
    axes.axhline(100, color="#333333", lw=0.8)
    axes.set(title="busy at the peak, % of one", yscale="log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    _save(figure, path)


def rates_of_a_core(path: Path, costs: Mapping[str, tuple[float, float]]) -> None:
    """What one core of clients, and one of PostgreSQL, does in a second.

    Args:
        costs: by kind of work, CPU in ms of the client and of PostgreSQL.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    names = list(costs)[::-1]
    for offset, side, name in ((0.2, 0, "by the client's core"), (-0.2, 1, "by PostgreSQL's core")):
        rates = [1000 / costs[work][side] for work in names]
        rows = [row + offset for row in range(len(names))]
        axes.barh(rows, rates, height=0.38, color=_COLOURS[side], label=name)
        for row, rate in zip(rows, rates, strict=True):
            axes.text(rate * 1.08, row, f"{rate:,.0f}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set(title="a second, by CPU time", xscale="log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(right=axes.get_xlim()[1] * 2)
    _finish(axes)
    _save(figure, path)


def _lines(axes: Axes, sizes: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    for number, (name, values) in enumerate(lines.items()):
        axes.plot(sizes, values, "o-", label=name, color=_COLOURS[number], markersize=3.5)
    axes.set_xscale("log")
    axes.set_xlabel("tenants")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(
        {"svg.hashsalt": "tunesmith", "svg.fonttype": "none"}
    ):  # the same figures give the same file
        figure.savefig(path, metadata={"Date": None})
