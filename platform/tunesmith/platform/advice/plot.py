"""The break-even as a picture: what each way has cost so far, and which input matters most.

Needs matplotlib (the extra `analysis`), which is imported when a picture is drawn.
"""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.errors import InvalidRequest

from .advice import Advice
from .break_even import SENSITIVITY, BreakEven
from .sentences import headline, label, money, months, summary

FORMATS = (".svg", ".png", ".html")
# Blue and orange are told apart with every common colour blindness (Okabe and Ito 2008).
_API, _HERE, _INK, _PALE = "#d55e00", "#0072b2", "#333333", "#e8e8e8"
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.parse_math": False,  # two amounts in dollars are no formula
    "svg.fonttype": "none",
    "svg.hashsalt": "tunesmith",  # the same figures give the same file
}


def write_plot(advice: Advice, path: Path) -> None:
    """Draw the advice's costs to a file, by its ending: .svg, .png or .html.

    Raises:
        InvalidRequest: it has another ending, or the advice has no costs.
        ModuleNotFoundError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise InvalidRequest(f"A plot's file must end in {', '.join(FORMATS)}; {path} does not.")
    if advice.worth is None:
        raise InvalidRequest("There is nothing to draw: the advice has no costs.")
    if kind == ".html":
        path.write_text(_page(advice, render(advice.worth, advice.currency, "svg").decode()))
    else:
        path.write_bytes(render(advice.worth, advice.currency, kind[1:]))


def render(worth: BreakEven, currency: str, kind: str) -> bytes:
    """The picture's bytes, as `svg` or `png`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        costs, inputs = figure.subplots(1, 2, width_ratios=(1.45, 1))
        _draw_costs(costs, worth, currency)
        _draw_inputs(inputs, worth, currency)
        figure.suptitle(headline(worth), fontsize=12, fontweight="bold")
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(out, format=kind, dpi=144, metadata=metadata)
    return out.getvalue()


def _draw_costs(axes: Any, worth: BreakEven, currency: str) -> None:
    """Cumulative cost of both ways, middle as a line and best to worst as a band."""
    series = worth.series(worth.horizon())
    time = [row["month"] for row in series]
    for way, colour, name in (
        ("api", _API, "API used today"),
        ("here", _HERE, "tuned model, served here"),
    ):
        ends = [sorted((row[f"{way}_best"], row[f"{way}_worst"])) for row in series]
        low, high = zip(*ends, strict=True)
        axes.fill_between(time, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(time, [row[f"{way}_middle"] for row in series], color=colour, label=name, lw=2)
    _mark_crossings(axes, worth)
    axes.set_xlim(0, time[-1])
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-9))
    axes.set_xlabel("months")
    axes.set_title("Spent so far (band: best to worst case)", fontsize=10, loc="left")
    axes.yaxis.set_major_formatter(lambda value, _: money(value, currency))
    axes.xaxis.set_major_locator(_locator(time[-1]))
    axes.grid(axis="y", color=_PALE, lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", frameon=False)


def _mark_crossings(axes: Any, worth: BreakEven) -> None:
    end = worth.horizon()
    for case in ("best", "middle", "worst"):
        outlook = worth.cases[case]
        month = outlook.break_even_months
        if month is None or month > end:
            continue
        height = outlook.spent_here(month)
        big = case == "middle"
        axes.plot(month, height, "o", color=_INK, markersize=7 if big else 4.5, zorder=5)
        if worth.cases["best"] == worth.cases["worst"] and not big:
            continue
        axes.annotate(
            f"{case}: {months(month)}",
            (month, height),
            xytext=(7, -13),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold" if big else "normal",
        )


def _draw_inputs(axes: Any, worth: BreakEven, currency: str) -> None:
    """How the saving of 12 months changes with each input, the widest bar on top."""
    items = worth.sensitivity
    centre = worth.cases["middle"].saved_after(12)
    for row, item in enumerate(items):
        for value, colour in ((item.saving_lower, "#56b4e9"), (item.saving_higher, _HERE)):
            axes.barh(row, value - centre, left=centre, color=colour, height=0.55)
    axes.axvline(centre, color=_INK, lw=1)
    axes.set_yticks(range(len(items)), [label(item.input) for item in items])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(
        f"Saved after 12 months (middle case: {money(centre, currency)}),\n"
        f"and with each input alone {SENSITIVITY * 100:g} % lower or higher",
        fontsize=10,
        loc="left",
    )
    axes.xaxis.set_major_formatter(lambda value, _: money(value, currency))
    axes.xaxis.set_major_locator(_few_ticks())
    axes.grid(axis="x", color=_PALE, lw=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.08)
    handles = [_patch("#56b4e9", "input lower"), _patch(_HERE, "input higher")]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False
    )


def _patch(colour: str, name: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=name)


def _locator(end: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(6 if end <= 48 else 12)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4)


def _page(advice: Advice, svg: str) -> str:
    """A page that needs nothing else; texts that came from outside are escaped."""
    assert advice.worth is not None
    found = advice.recommendation
    reasons = "".join(f"<li>{html.escape(reason.text)}</li>" for reason in found.reasons)
    sentences = "".join(
        f"<p>{html.escape(sentence)}</p>" for sentence in summary(advice.worth, advice.currency)
    )
    questions = "".join(f"<li>{html.escape(question)}</li>" for question in found.questions)
    price = ""
    if advice.price is not None:
        said = (
            f"Price of {advice.price.model}: as of {advice.price.as_of}, from"
            f" {advice.price.source}."
        )
        price = f"<p>{html.escape(said)}</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Is it worth it?</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;"
        "padding:0 1rem;color:#333}svg{width:100%;height:auto}</style></head><body>"
        f"<h1>{html.escape(found.summary)}</h1><ul>{reasons}</ul>{sentences}"
        f"{svg[svg.index('<svg') :]}{price}"
        + (f"<h2>What is not known yet</h2><ul>{questions}</ul>" if questions else "")
        + "</body></html>\n"
    )
