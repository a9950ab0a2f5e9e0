"""The report's two plots as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH = 720
_NAMES = 190  # pixels for the labels' names
_ROW = 26
_HEIGHT = 180


@dataclass(frozen=True)
class Bar:
    """A label's share of the file, and of production where that is known (0 to 1)."""

    name: str
    share: float
    production: float | None


@dataclass(frozen=True)
class Column:
    """How many examples have `low` to `high` tokens."""

    low: int
    high: int
    count: int


def label_bars(bars: Sequence[Bar]) -> Markup:
    """Horizontal bars, one per label, and a thinner one for production under each."""
    longest = max(max(bar.share, bar.production or 0.0) for bar in bars) or 1.0
    room = _WIDTH - _NAMES - 110
    parts = []
    for place, bar in enumerate(bars):
        top = place * _ROW
        text = f"{bar.share:.1%}"
        name = bar.name if len(bar.name) <= 26 else bar.name[:25] + "…"
        if bar.production is not None:
            text += f" / {bar.production:.1%}"
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                _NAMES - 8, top + 16, name
            )
        )
        parts.append(_rect(_NAMES, top + 4, room * bar.share / longest, 11, "here"))
        if bar.production is not None:
            parts.append(_rect(_NAMES, top + 16, room * bar.production / longest, 6, "there"))
        end = _NAMES + room * max(bar.share, bar.production or 0.0) / longest
        parts.append(Markup('<text x="{:.1f}" y="{}">{}</text>').format(end + 8, top + 16, text))
    return _svg(len(bars) * _ROW + 4, "share of each label", parts)


def length_columns(columns: Sequence[Column], limit: int) -> Markup:
    """Columns of examples by length; those past `limit` tokens in another colour."""
    tallest = max(column.count for column in columns) or 1
    width = (_WIDTH - 20) / len(columns)
    parts = []
    for place, column in enumerate(columns):
        height = (_HEIGHT - 46) * column.count / tallest
        kind = "over" if column.low >= limit else "here"
        parts.append(
            Markup("<g><title>{} to {} tokens: {} examples</title>{}</g>").format(
                column.low,
                column.high,
                column.count,
                _rect(10 + place * width, _HEIGHT - 24 - height, max(width - 2, 1), height, kind),
            )
        )
    for place in range(0, len(columns) + 1, max(1, len(columns) // 5)):
        value = columns[place].low if place < len(columns) else columns[-1].high
        anchor = "end" if place == len(columns) else "middle" if place else "start"
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{:,}</text>').format(
                10 + place * width, _HEIGHT - 6, anchor, value
            )
        )
    parts.append(
        Markup('<text x="10" y="12">{:,} examples in the tallest column</text>').format(tallest)
    )
    return _svg(_HEIGHT, "examples by number of tokens", parts)


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}"/>').format(
        x, y, width, height, kind
    )


def _svg(height: int, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, title, Markup("").join(parts)
    )
