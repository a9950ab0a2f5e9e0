"""What a benchmark found: figures with their targets, as a table and as JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: what was measured, in words.
        value: the median, or the only value.
        unit: such as "x", "tokens/s", "s", "MiB".
        target: what it was to reach; None for a figure that only informs.
        higher_is_better: on which side of the target is good.
        spread: smallest and largest value of the single runs, where there was more than one.
        note: one sentence beside it in the table: how it came about, or why it misses.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    higher_is_better: bool = True
    spread: tuple[float, float] | None = None
    note: str = ""

    @classmethod
    def of(cls, name: str, values: Sequence[float], unit: str, **others: Any) -> Figure:
        """The median of several runs, with their spread.

        Raises:
            ValueError: no values, or one that is not finite.
        """
        if not values or not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name}: no median of {list(values)}")
        spread = (min(values), max(values)) if len(values) > 1 else None
        return cls(name, statistics.median(values), unit, spread=spread, **others)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.higher_is_better else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "higher_is_better": self.higher_is_better,
        }


@dataclass
class Section:
    """One measurement with everything that is needed to judge it.

    Attributes:
        number: as in `--only`.
        title: what is compared.
        figures: what came out; `ordered` puts ratios first.
        held_equal: what both sides shared, name -> value.
        method: how it was done, in sentences.
        runs: raw figures of every run, by side or variant.
    """

    number: int
    title: str
    figures: list[Figure] = field(default_factory=list)
    held_equal: dict[str, Any] = field(default_factory=dict)
    method: list[str] = field(default_factory=list)
    runs: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def ordered(self) -> list[Figure]:
        """Ratios first, those with a target before those without."""
        return sorted(self.figures, key=lambda f: (f.unit != "x", f.target is None))

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "title": self.title,
            "held_equal": self.held_equal,
            "method": self.method,
            "figures": [
                figure.as_json() | {"spread": figure.spread, "note": figure.note}
                for figure in self.ordered
            ],
            "runs": self.runs,
        }


def alternate(
    rounds: int, sides: Mapping[str, Callable[[int], _Result]]
) -> dict[str, list[_Result]]:
    """Run every side once per round, in turned order every other round.

    Neither side then profits from always running on the cooler machine or the warmer cache.

    Args:
        rounds: at least 1.
        sides: name -> what to run; it gets the 0-based round.
    """
    results: dict[str, list[_Result]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in names:
            results[name].append(sides[name](number))
    return results


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Ratio of each round, so that a slow spell of the machine meets both sides of it.

    Raises:
        ValueError: different numbers of rounds.
    """
    return [a / b for a, b in zip(above, below, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank).

    Raises:
        ValueError: no values, or a share outside (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def table(section: Section) -> str:
    """The section as text: a line per figure, then what was held equal and how it was done."""
    rows = [("", "value", "spread", "target", "")]
    for figure in section.ordered:
        rows.append(
            (
                figure.name,
                _number(figure.value, figure.unit),
                "" if figure.spread is None else " to ".join(_number(v) for v in figure.spread),
                _target(figure),
                {True: "met", False: "MISSED", None: ""}[figure.met],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"{section.number}. {section.title}"]
    for row in rows:
        name, *cells = row
        texts = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("   " + "  ".join([name.ljust(widths[0]), *texts]).rstrip())
    lines += [f"   - {figure.name}: {figure.note}" for figure in section.ordered if figure.note]
    if section.held_equal:
        equal = ", ".join(f"{name} {value}" for name, value in section.held_equal.items())
        lines.append(f"   held equal: {equal}")
    lines += [f"   {sentence}" for sentence in section.method]
    return "\n".join(lines)


def write(path: Path, sections: Sequence[Section], context: Mapping[str, Any]) -> None:
    """Write build/bench/NAME.json; `figures` at its top is the list for every reader.

    Args:
        path: the file; its folder is made.
        sections: what was measured.
        context: machine, versions and options, at the top level.
    """
    content = {
        **context,
        "figures": [figure.as_json() for section in sections for figure in section.ordered],
        "sections": [section.as_json() for section in sections],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    temporary.replace(path)


def _number(value: float, unit: str = "") -> str:
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    text = f"{value:,.{digits}f}"
    return text + unit if unit == "x" else f"{text} {unit}".rstrip()


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    sign = "at least" if figure.higher_is_better else "at most"
    return f"{sign} {figure.target:g}" + ("x" if figure.unit == "x" else "")
