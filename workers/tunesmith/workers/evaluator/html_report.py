"""An evaluation as one page that needs nothing else: plain words, plots, answers side by side.

Whatever came from data is escaped: by the template, and by matplotlib inside its plots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .plots import confusion_plot, difference_plot, forgetting_plot, loss_plot, outcome_plot

_SHOWN = 10
_TEMPLATE = Path(__file__).with_name("report.html.jinja")


def render_html(
    evaluation: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
) -> str:
    """The page.

    Args:
        evaluation: as the API shows it; parts of `result` may be None.
        items: each example with both answers and scores.
        steps: metrics of the job's steps, in their order.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"percent": _percent, "points": _points, "number": _number}
    result = evaluation["result"]
    better, worse = _moved(items, 1), _moved(items, -1)
    plots = {
        "loss": loss_plot(steps),
        "difference": difference_plot(result),
        "outcome": outcome_plot(len(better), len(worse), _scored(items)),
        "confusion": confusion_plot(result.get("confusion")),
        "forgetting": forgetting_plot(result.get("forgetting")),
    }
    return environment.from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    ).render(
        evaluation=evaluation,
        result=result,
        plots={name: None if svg is None else Markup(svg) for name, svg in plots.items()},  # noqa: S704 - ours
        better=better[:_SHOWN],
        worse=worse[:_SHOWN],
        costliest=_costliest(items),
        counts={"better": len(better), "worse": len(worse), "all": _scored(items)},
    )


def _scored(items: Sequence[Mapping[str, Any]]) -> int:
    return sum(_change(item) is not None for item in items)


def _change(item: Mapping[str, Any]) -> float | None:
    before, after = item["baseline_score"], item["candidate_score"]
    return None if before is None or after is None else float(after - before)


def _moved(items: Sequence[Mapping[str, Any]], sign: int) -> list[Mapping[str, Any]]:
    """Items whose score rose (1) or fell (-1), the largest change first."""
    moved = [(sign * change, item) for item in items if (change := _change(item)) is not None]
    return [item for change, item in sorted(moved, key=lambda pair: -pair[0]) if change > 0]


def _costliest(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Answers of the tuned model that are wrong, those first that the baseline had right."""
    wrong = [
        item
        for item in items
        if item["candidate_score"] is not None and item["candidate_score"] < 1
    ]
    return sorted(
        wrong, key=lambda item: (item["candidate_score"], -(item["baseline_score"] or 0.0))
    )[:_SHOWN]


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _points(value: float | None) -> str:
    return "—" if value is None else f"{value * 100:+.1f}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"
