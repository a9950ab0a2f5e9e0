"""The verdict: did it get better, by how much, and is that enough?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from .paired import CONFIDENCE, LEVEL, Difference, Scores, bootstrap_interval, compare
from .power import detectable_difference

FEWEST_PAIRS = 10
"""Below this even a large difference is told from chance only when nearly all pairs agree."""

_ROUNDING = 1e-9
"""48 right answers of 100 are 20 % more than 40, in floating point too."""


class Verdict(StrEnum):
    """What can be said."""

    BETTER = "better"
    WORSE = "worse"
    NO_CLEAR_DIFFERENCE = "no clear difference"
    TOO_FEW_EXAMPLES = "too few examples"


@dataclass(frozen=True)
class Constant:
    """Always giving one answer: the commonest of the references, and how it would score."""

    answer: str
    scores: Sequence[float] | Scores


@dataclass(frozen=True)
class Decision:
    """The verdict and what it rests on; values are mean scores, 0 to 1."""

    verdict: Verdict
    summary: str
    reasons: tuple[str, ...]
    count: int
    baseline: float | None
    candidate: float | None
    difference: Difference | None
    relative_improvement: float | None
    bar: float
    bar_met: bool
    bar_certain: bool
    constant: tuple[str, float, bool] | None
    detectable: float | None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        difference = self.difference
        return {
            "verdict": str(self.verdict),
            "summary": self.summary,
            "reasons": list(self.reasons),
            "baseline": {"value": self.baseline, "n": self.count},
            "candidate": {"value": self.candidate, "n": self.count},
            "difference": None
            if difference is None
            else {
                "value": difference.value,
                "low": difference.low,
                "high": difference.high,
                "confidence": CONFIDENCE,
                "p_value": difference.p_value,
                "test": difference.test,
            },
            "relative_improvement": self.relative_improvement,
            "bar": {
                "minimum_relative_improvement": self.bar,
                "met": self.bar_met,
                "certain": self.bar_certain,
            },
            "constant_answer": None
            if self.constant is None
            else dict(zip(("answer", "value", "beaten"), self.constant, strict=True)),
            "detectable_difference": self.detectable,
        }


def decide(
    baseline: Sequence[float] | Scores,
    candidate: Sequence[float] | Scores,
    *,
    binary: bool,
    bar: float = 0.2,
    constant: Constant | None = None,
) -> Decision:
    """Decide between paired scores, higher being better.

    `better` and `worse` need the test and the interval to agree at the 5 % level. A label task has
    a floor besides: a model that does no better than always giving the commonest answer has
    learned the form of the answers and nothing of the task, whatever its baseline scores.

    Args:
        baseline, candidate: scores of shape (n,), 0 to 1, in one order.
        bar: least relative improvement of the tenant.
        constant: the floor of a label task.
    """
    base, tuned = (np.asarray(scores, dtype=np.float64) for scores in (baseline, candidate))
    count = len(base)
    if count < FEWEST_PAIRS:
        return _too_few(base, tuned, bar)
    found = compare(base, tuned, binary=binary)
    better, worse = _signs(found)
    beaten = _beaten(constant, tuned, binary=binary)
    verdict = Verdict.NO_CLEAR_DIFFERENCE
    if worse:
        verdict = Verdict.WORSE
    elif better and beaten is not False:
        verdict = Verdict.BETTER
    before = float(base.mean())
    relative = None if before == 0 else found.value / before
    met = verdict is Verdict.BETTER and (relative is None or relative >= bar - _ROUNDING)
    certain = met and (relative is None or _above(base, tuned, bar))
    floor = None if constant is None else (constant.answer, _mean(constant), bool(beaten))
    detectable = detectable_difference(tuned - base, binary=binary)
    return Decision(
        verdict=verdict,
        summary=_summary(verdict, before, float(tuned.mean()), found, count),
        reasons=_reasons(
            found, relative, bar, met=met, certain=certain, floor=floor, better=better,
            detectable=detectable, verdict=verdict, before=before,
        ),
        count=count,
        baseline=before,
        candidate=float(tuned.mean()),
        difference=found,
        relative_improvement=relative,
        bar=bar,
        bar_met=met,
        bar_certain=certain,
        constant=floor,
        detectable=detectable,
    )  # fmt: skip


def _signs(found: Difference) -> tuple[bool, bool]:
    significant = found.p_value <= LEVEL
    return significant and found.low > 0, significant and found.high < 0


def _above(base: Scores, tuned: Scores, bar: float) -> bool:
    """Whether the interval of what is left above the bar, pair by pair, has nothing below 0.

    The bar moves with the baseline's score, which the examples tell no more exactly than the
    candidate's: dividing the difference's interval by it would not do.
    """
    return bootstrap_interval(tuned - (1 + bar) * base)[0] >= -_ROUNDING


def _mean(constant: Constant) -> float:
    return float(np.mean(constant.scores))


def _beaten(constant: Constant | None, tuned: Scores, *, binary: bool) -> bool | None:
    if constant is None:
        return None
    against = np.asarray(constant.scores, dtype=np.float64)
    return _signs(compare(against, tuned, binary=binary))[0]


def _too_few(base: Scores, tuned: Scores, bar: float) -> Decision:
    count = len(base)
    summary = (
        f"{count or 'No'} example{'s' if count != 1 else ''} that training never saw: at least"
        f" {FEWEST_PAIRS} are needed for a verdict, 100 or more for a good one."
    )
    return Decision(
        verdict=Verdict.TOO_FEW_EXAMPLES,
        summary=summary,
        reasons=(
            "Give a validation file, or `evaluation.file`, or a training file of 50 examples or"
            " more, of which some are held out.",
        ),
        count=count,
        baseline=float(base.mean()) if count else None,
        candidate=float(tuned.mean()) if count else None,
        difference=None,
        relative_improvement=None,
        bar=bar,
        bar_met=False,
        bar_certain=False,
        constant=None,
        detectable=None,
    )


def _summary(verdict: Verdict, before: float, after: float, found: Difference, count: int) -> str:
    return (
        f"{verdict}: {before:.1%} before, {after:.1%} after, on {count} examples; the difference is"
        f" {found.value * 100:+.1f} points, between {found.low * 100:+.1f} and"
        f" {found.high * 100:+.1f} with 95 % confidence."
    )


def _reasons(
    found: Difference,
    relative: float | None,
    bar: float,
    *,
    met: bool,
    certain: bool,
    floor: tuple[str, float, bool] | None,
    better: bool,
    detectable: float | None,
    verdict: Verdict,
    before: float,
) -> tuple[str, ...]:
    reasons = [f"{found.test}: p = {found.p_value:.2g} (clear at 0.05 or less)."]
    clear_interval = not found.low <= 0 <= found.high
    if clear_interval != (found.p_value <= LEVEL):
        one, other = ("interval", "test") if clear_interval else ("test", "interval")
        reasons.append(
            f"The {one} alone would call it different, the {other} does not; with so few examples"
            " that differ, both have to."
        )
    if better and verdict is not Verdict.BETTER and floor is not None:
        reasons.append(
            f"It does no better than always answering {floor[0]!r} ({floor[1]:.1%}): it has learned"
            " what answers look like, and not which is right. Look at the training data."
        )
    if verdict is Verdict.NO_CLEAR_DIFFERENCE and not better and detectable is not None:
        reasons.append(
            f"So many examples show a difference of about {detectable * 100:.0f} points or more"
            " four times out of five; a smaller one may be there and stay unseen."
        )
    if verdict is Verdict.BETTER:
        gained = "from nothing" if relative is None else f"by {relative:.0%}"
        said = "more than" if met else "less than"
        sure = "" if certain or not met else ", though the interval's lower end does not reach it"
        reasons.append(f"It improved {gained}, {said} the bar of {bar:.0%}{sure}.")
    if verdict is not Verdict.WORSE and before * (1 + bar) > 1 + _ROUNDING:
        reasons.append(
            f"No model could reach the bar of {bar:.0%} here: from {before:.1%}, all right would be"
            f" only {1 / before - 1:.0%} more. Lower the bar, or evaluate on harder examples."
        )
    return tuple(reasons)
