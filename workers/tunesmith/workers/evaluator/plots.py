"""Plots of an evaluation as SVG elements; None where there is nothing to show.

Texts stay texts in them, escaped by matplotlib, never taken for formulas.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_BEFORE, _AFTER, _GOOD, _BAD, _SAME = "#8a94a6", "#2563eb", "#15803d", "#b91c1c", "#cbd5e1"
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tunesmith",
    "text.parse_math": False,  # a label such as $x$ is data, not a formula
}
_LABELS_WITH_COUNTS = 12
_LABEL_LENGTH = 24

# matplotlib's settings are the process's, and evaluations run beside one another.
_one_at_a_time = threading.Lock()


def _drawn(draw: Callable[[Any], None], width: float, height: float, columns: int = 1) -> str:
    """What `draw` puts on axes, as an SVG element. Sizes in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with _one_at_a_time, mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Glyphs are the reader's: only their widths are guessed here.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots(1, columns))
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def loss_plot(steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Training and validation loss by step, of metric events' data."""
    training = _curve(steps, "train_loss")
    partial, whole = _curve(steps, "valid_loss"), _curve(steps, "full_valid_loss")
    if not training:
        return None

    def draw(axes: Any) -> None:
        axes.plot(*zip(*training, strict=True), color=_BEFORE, lw=1, label="training")
        if partial and partial != whole:
            axes.plot(
                *zip(*partial, strict=True), color=_AFTER, lw=1, ls=":", label="part of validation"
            )
        if whole:
            axes.plot(
                *zip(*whole, strict=True), color=_AFTER, lw=1.6, marker="o", label="validation"
            )
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)

    return _drawn(draw, 6.4, 2.6)


def _curve(steps: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(step["step"], step[key]) for step in steps if step.get(key) is not None]


def difference_plot(difference: Mapping[str, Any] | None, bar: float | None = None) -> str | None:
    """The difference with its interval against zero, and against the `bar`, a share too."""
    if difference is None or difference.get("low") is None or difference.get("high") is None:
        return None

    def draw(axes: Any) -> None:
        value, low, high = (difference[key] * 100 for key in ("value", "low", "high"))
        colour = _GOOD if low > 0 else _BAD if high < 0 else _BEFORE
        axes.axvline(0, color="black", lw=0.8)
        axes.text(0, 0.55, " no difference", va="bottom", fontsize=8)
        if bar is not None:
            axes.axvline(bar * 100, color=_BEFORE, lw=0.8, ls="--")
            axes.text(bar * 100, -0.55, " the bar", va="top", fontsize=8)
        axes.plot([low, high], [0, 0], color=colour, lw=5, solid_capstyle="round", alpha=0.35)
        axes.plot([value], [0], "o", color=colour, ms=9)
        axes.set_ylim(-1, 1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("tuned less baseline, in points")

    return _drawn(draw, 6.4, 1.3)


def outcome_plot(better: int, same: int, worse: int) -> str | None:
    """How many examples got better, stayed as they were, got worse."""
    if not better + same + worse:
        return None

    def draw(axes: Any) -> None:
        left = 0
        parts = (("better", better, _GOOD), ("same", same, _SAME), ("worse", worse, _BAD))
        for name, count, colour in parts:
            axes.barh([0], [count], left=left, color=colour, label=f"{name}: {count}")
            left += count
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, left)
        axes.set_xlabel("examples")
        axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return _drawn(draw, 6.4, 1.3)


def scores_plot(pairs: Sequence[tuple[float, float]]) -> str | None:
    """Each example's scores, baseline across and tuned up; None where all are right or wrong."""
    if all(score in (0, 1) for pair in pairs for score in pair):
        return None

    def draw(axes: Any) -> None:
        colours = [_GOOD if y > x else _BAD if y < x else _BEFORE for x, y in pairs]
        axes.axline((0, 0), (1, 1), color="black", lw=0.8)
        axes.scatter(*zip(*pairs, strict=True), c=colours, s=14, alpha=0.5, linewidths=0)
        axes.set_aspect("equal")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("baseline's score")
        axes.set_ylabel("tuned model's score")

    return _drawn(draw, 3.6, 3.4)


def confusion_plot(confusion: Mapping[str, Any] | None) -> str | None:
    """What was expected (rows) and what each model answered (columns)."""
    if confusion is None or not confusion["labels"]:
        return None
    rows = [shortened(label) for label in confusion["labels"]]
    width = len(confusion["baseline"][0])
    columns = rows + ["(other)"] * (width - len(rows))

    def draw(both: Any) -> None:
        for axes, side, title in zip(
            both, ("baseline", "candidate"), ("baseline", "tuned"), strict=True
        ):
            matrix = confusion[side]
            darkest = max(max(row) for row in matrix) or 1
            # Rectangles rather than a picture: sharp at any size, and nothing to be loaded.
            axes.pcolormesh(matrix, cmap="Blues", vmin=0, vmax=darkest, ec="white", lw=0.5)
            axes.invert_yaxis()
            axes.set_xticks([n + 0.5 for n in range(width)], columns, rotation=90)
            axes.set_yticks([n + 0.5 for n in range(len(rows))], rows)
            axes.tick_params(length=0)
            axes.set_title(title)
            axes.set_xlabel("answered")
            for row, counts in enumerate(matrix):
                for column, count in enumerate(counts):
                    if count and len(rows) <= _LABELS_WITH_COUNTS:
                        colour = "white" if count > darkest / 2 else "black"
                        place = (column + 0.5, row + 0.5)
                        axes.text(*place, str(count), ha="center", va="center", color=colour)
        both[0].set_ylabel("expected")

    return _drawn(draw, 9.0, 1.9 + 0.26 * len(rows), columns=2)


def forgetting_plot(forgetting: Mapping[str, Any] | None) -> str | None:
    """Shares of right answers to the general questions, by kind."""
    by_kind = (forgetting or {}).get("by_kind")
    if not by_kind:
        return None

    def draw(axes: Any) -> None:
        for offset, side, name, colour in (
            (-0.2, "baseline", "baseline", _BEFORE),
            (0.2, "candidate", "tuned", _AFTER),
        ):
            shares = [kind[side] * 100 for kind in by_kind.values()]
            bars = axes.bar(
                [place + offset for place in range(len(shares))],
                shares, width=0.38, color=colour, label=name,
            )  # fmt: skip
            axes.bar_label(bars, fmt="%.0f", fontsize=8)
        names = [f"{shortened(name)}\n({kind['n']} questions)" for name, kind in by_kind.items()]
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 108)
        axes.set_ylabel("right, %")
        axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return _drawn(draw, 6.4, 2.6)


def shortened(text: str) -> str:
    """`text` as a label: one line, and nothing in it that cannot be drawn."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not line:
        return "(empty)"
    return line if len(line) <= _LABEL_LENGTH else line[: _LABEL_LENGTH - 1] + "…"
