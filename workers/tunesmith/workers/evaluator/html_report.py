"""An evaluation as one page that needs nothing else: plain words, plots, answers side by side.

Whatever came from data is escaped: by the template, and by matplotlib inside its plots. The page
loads nothing, and forbids itself to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .plots import (
    confusion_plot,
    difference_plot,
    forgetting_plot,
    loss_plot,
    outcome_plot,
    scores_plot,
)

Item = Mapping[str, Any]

_SHOWN = 10
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_PARTS = (
    "verdict", "summary", "reasons", "metric", "baseline", "candidate", "difference",
    "relative_improvement", "bar", "constant_answer", "detectable_difference", "metrics",
    "confusion", "perplexity", "forgetting", "selection",
)  # fmt: skip
_OF_DIFFERENCE = ("value", "low", "high", "confidence", "p_value", "test")
_OF_FORGETTING = ("summary", "within_limit", "drop", "limit", "by_kind", "logprob_shift", "lost")
_SOURCES = {
    "file": "examples of a file of their own",
    "validation_file": "examples of the validation file",
    "held_out": "examples that were held out of the training file",
}


def render_html(
    evaluation: Mapping[str, Any],
    items: Sequence[Item],
    metrics_events: Sequence[Mapping[str, Any]],
) -> str:
    """The page.

    Args:
        evaluation: as the API shows it; `result` and its parts may be None or absent.
        items: each example with both answers and scores, which may be None.
        metrics_events: the figures of the job's steps in their order, or events with them in
            `data`.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "points": _points, "number": _number}
    result: dict[str, Any] = dict.fromkeys(_PARTS) | dict(evaluation.get("result") or {})
    for name, parts in (("difference", _OF_DIFFERENCE), ("forgetting", _OF_FORGETTING)):
        if result[name]:
            result[name] = dict.fromkeys(parts) | dict(result[name])
    better, worse = _moved(items, 1), _moved(items, -1)
    pairs = [
        (item["baseline_score"], item["candidate_score"])
        for item in items
        if _change(item) is not None
    ]
    plots = {
        "loss": loss_plot([event.get("data") or event for event in metrics_events]),
        "difference": difference_plot(result["difference"], _bar_in_points(result)),
        "outcome": outcome_plot(len(better), len(pairs) - len(better) - len(worse), len(worse)),
        "scores": scores_plot(pairs),
        "confusion": confusion_plot(result["confusion"]),
        "forgetting": forgetting_plot(result["forgetting"]),
    }
    source = evaluation.get("data_source") or {}
    page = environment.from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    ).render(
        evaluation=dict.fromkeys(("name", "job", "error")) | dict(evaluation),
        examples=source.get("examples"),
        left_out=source.get("left_out"),
        source=_SOURCES.get(source.get("type", ""), "examples"),
        finished=_time(evaluation.get("finished_at")),
        result=result,
        forgetting=result["forgetting"],
        summary=(result["summary"] or "").removeprefix(f"{result['verdict']}: "),
        plots={name: svg and Markup(svg) for name, svg in plots.items()},  # noqa: S704 - drawn here
        better=better[:_SHOWN],
        worse=worse[:_SHOWN],
        costliest=_costliest(items),
        counts={
            "better": len(better),
            "worse": len(worse),
            "same": len(pairs) - len(better) - len(worse),
            "scored": len(pairs),
            "unscored": len(items) - len(pairs),
        },
    )
    # Half of a surrogate pair, which a model may well answer, is no character.
    return page.encode("utf-8", "replace").decode()


def _change(item: Item) -> float | None:
    before, after = item["baseline_score"], item["candidate_score"]
    return None if before is None or after is None else float(after - before)


def _moved(items: Sequence[Item], sign: int) -> list[Item]:
    """Items whose score rose (1) or fell (-1), the largest change first."""
    moved = [(sign * change, item) for item in items if (change := _change(item)) is not None]
    return [item for change, item in sorted(moved, key=lambda pair: -pair[0]) if change > 0]


def _costliest(items: Sequence[Item]) -> list[Item]:
    """The tuned model's worst answers, those first that the baseline had right."""
    wrong = [
        item
        for item in items
        if item["candidate_score"] is not None and item["candidate_score"] < 1
    ]
    return sorted(
        wrong, key=lambda item: (item["candidate_score"], -(item["baseline_score"] or 0.0))
    )[:_SHOWN]


def _bar_in_points(result: Mapping[str, Any]) -> float | None:
    """The difference that the tenant's bar asks for, as a share of all; None from nothing."""
    before = (result["baseline"] or {}).get("value")
    if not before or not result["bar"]:
        return None
    return float(before * result["bar"]["minimum_relative_improvement"])


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _points(value: float | None) -> str:
    return "—" if value is None else f"{value * 100:+.1f}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"
