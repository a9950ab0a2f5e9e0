"""Plots of an evaluation as SVG texts; None where there is nothing to show."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_BEFORE, _AFTER, _GOOD, _BAD, _SAME = "#8a94a6", "#2563eb", "#15803d", "#b91c1c", "#cbd5e1"
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tunesmith",
    # A label such as $x$ is data, not a formula.
    "text.parse_math": False,
}


def _drawn(draw: Callable[[Any], None], width: float, height: float, columns: int = 1) -> str:
    """What `draw` puts on axes, as an SVG element."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def loss_plot(steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Training and validation loss by step."""
    curves = (
        ("training", "train_loss", _BEFORE, 1.0),
        ("validation", "valid_loss", _AFTER, 1.6),
        ("validation, all examples", "full_valid_loss", _AFTER, 1.6),
    )

    def draw(axes: Any) -> None:
        for name, key, colour, width in curves:
            points = [(step["step"], step[key]) for step in steps if step.get(key) is not None]
            if points:
                marker = "o" if key == "full_valid_loss" else None
                axes.plot(
                    *zip(*points, strict=True), color=colour, lw=width, label=name, marker=marker
                )
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats per token)")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)

    return _drawn(draw, 6.4, 2.6) if any("train_loss" in step for step in steps) else None


def difference_plot(result: Mapping[str, Any]) -> str | None:
    """The difference with its interval, against zero."""
    difference = result.get("difference")
    if difference is None or difference["low"] is None:
        return None

    def draw(axes: Any) -> None:
        value, low, high = (difference[key] * 100 for key in ("value", "low", "high"))
        colour = _GOOD if low > 0 else _BAD if high < 0 else _BEFORE
        axes.axvline(0, color="black", lw=0.8)
        axes.plot([low, high], [0, 0], color=colour, lw=5, solid_capstyle="round", alpha=0.35)
        axes.plot([value], [0], "o", color=colour, ms=9)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("tuned less baseline, points")

    return _drawn(draw, 6.4, 1.2)


def outcome_plot(better: int, worse: int, scored: int) -> str | None:
    """How many examples got better, stayed, got worse."""
    if not scored:
        return None

    def draw(axes: Any) -> None:
        left = 0
        for name, count, colour in (
            ("better", better, _GOOD),
            ("same", scored - better - worse, _SAME),
            ("worse", worse, _BAD),
        ):
            axes.barh([0], [count], left=left, color=colour, label=f"{name}: {count}")
            left += count
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("examples")
        axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return _drawn(draw, 6.4, 1.3)


def confusion_plot(confusion: Mapping[str, Any] | None) -> str | None:
    """What was expected (rows) and what each model answered (columns)."""
    if confusion is None or not confusion["labels"]:
        return None
    labels = [_short(label) for label in confusion["labels"]]

    def draw(both: Any) -> None:
        for axes, side, title in zip(
            both, ("baseline", "candidate"), ("baseline", "tuned"), strict=True
        ):
            matrix = confusion[side]
            axes.imshow(matrix, cmap="Blues", aspect="auto", vmin=0)
            axes.set_xticks(range(len(labels) + 1), [*labels, "(other)"], rotation=90)
            axes.set_yticks(range(len(labels)), labels)
            axes.set_title(title)
            axes.set_xlabel("answered")
            darkest = max(max(row) for row in matrix) or 1
            for row, counts in enumerate(matrix):
                for column, count in enumerate(counts):
                    if count and len(labels) <= 12:
                        colour = "white" if count > darkest / 2 else "black"
                        axes.text(column, row, str(count), ha="center", va="center", color=colour)
        both[0].set_ylabel("expected")

    height = 2.8 + 0.26 * len(labels)
    return _drawn(draw, 9.0, height, columns=2)


def forgetting_plot(forgetting: Mapping[str, Any] | None) -> str | None:
    """Shares of right answers to the general questions, by kind."""
    if forgetting is None:
        return None
    kinds = list(forgetting["by_kind"])

    def draw(axes: Any) -> None:
        for offset, side, name, colour in (
            (-0.2, "baseline", "baseline", _BEFORE),
            (0.2, "candidate", "tuned", _AFTER),
        ):
            shares = [forgetting["by_kind"][kind][side] * 100 for kind in kinds]
            places = [place + offset for place in range(len(kinds))]
            axes.bar(places, shares, width=0.38, color=colour, label=name)
        axes.set_xticks(range(len(kinds)), kinds)
        axes.set_ylim(0, 100)
        axes.set_ylabel("right, %")
        axes.legend(frameon=False)

    return _drawn(draw, 6.4, 2.4)


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"
