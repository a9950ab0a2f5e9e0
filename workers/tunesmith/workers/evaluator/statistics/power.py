"""What so many examples can show: the smallest true difference that is found four times of five."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

from .paired import LEVEL, Scores

POWER = 0.8
_UNKNOWN_DISAGREEMENT = 0.1


def detectable_difference(differences: Scores, *, binary: bool) -> float | None:
    """The smallest true difference that the test finds with 80 % power, by these (n,) differences.

    How often the models disagree, or how much the differences vary, is taken from the examples
    themselves; where all are equal, of graded answers a tenth is taken to differ by all there is.
    None where no difference could be shown with so few examples.
    """
    n = len(differences)
    if binary:
        share = float(np.mean(differences != 0)) if n else 0.0
        return _smallest(lambda true: mcnemar_power(n, max(share, true), true), 1.0)
    if n < 2:
        return None
    spread = float(np.std(differences, ddof=1))
    if spread <= 1e-12:
        spread = math.sqrt(_UNKNOWN_DISAGREEMENT)
    found = _smallest(lambda true: paired_t_power(n, true / spread), 100.0 * spread)
    return found if found is None or found < 1 else None


def mcnemar_power(n: int, disagreement: float, difference: float) -> float:
    """Power of the exact McNemar test, by going through all outcomes.

    Of all examples the models disagree on a share of `disagreement`, the candidate being right on
    `difference` (0 to `disagreement`) more of them than the baseline.
    """
    if disagreement <= 0 or n == 0:
        return 0.0
    counts = np.arange(n + 1)
    wins = (1 + difference / disagreement) / 2
    # Significant are at most so many losses (or wins) among `counts` disagreements.
    most = stats.binom.ppf(LEVEL / 2, counts, 0.5) - 1
    found = stats.binom.cdf(most, counts, 1 - wins) + stats.binom.cdf(most, counts, wins)
    return float(np.sum(stats.binom.pmf(counts, n, disagreement) * found))


def paired_t_power(n: int, effect: float) -> float:
    """Power of the paired t-test, which the permutation test comes close to.

    `effect` is the true mean difference in standard deviations of the differences.
    """
    critical = stats.t.ppf(1 - LEVEL / 2, n - 1)
    shift = effect * math.sqrt(n)
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))


def _smallest(power: Callable[[float], float], largest: float) -> float | None:
    low, high = 0.0, 1e-4 * largest
    while power(high) < POWER:  # doubled from below: far beyond it noncentral t has no digits left
        if high >= largest:
            return None
        low, high = high, min(2 * high, largest)
    return float(optimize.brentq(lambda true: power(true) - POWER, low, high, xtol=1e-4 * high))
