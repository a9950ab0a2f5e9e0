"""The plot of docs/growth.svg: three panels on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

Points = Sequence[tuple[float, float]]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which colour-blind people tell apart."""


def plot(
    path: Path, times: Mapping[str, Points], lists: Points, memory: Mapping[str, Points]
) -> None:
    """Draw the growth.

    Args:
        times: by call, jobs in the database and the p99 in ms.
        lists: models in an answer of /v1/models and the p99 in ms.
        memory: by moment, jobs in the database and MiB.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _draw(left, times)
    left.set(title="p99 of a call", xlabel="jobs in the database", ylabel="ms", yscale="log")
    _draw(middle, {"p99": lists})
    middle.set(title="/v1/models by its length", xlabel="models in the list", ylabel="ms")
    middle.set_yscale("log")
    middle.set_ylim(bottom=1)
    _draw(right, memory)
    right.set(title="memory of the gateway", xlabel="jobs in the database", ylabel="MiB")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.legend(fontsize=7, frameon=False)
    low, high = left.get_ylim()
    left.set_ylim(min(1.0, low), high * 3)  # room for the legend
    for axes in (left, middle):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _draw(axes: Axes, lines: Mapping[str, Points]) -> None:
    for number, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(*zip(*points, strict=True), "o-", label=name, color=colour, markersize=4)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
