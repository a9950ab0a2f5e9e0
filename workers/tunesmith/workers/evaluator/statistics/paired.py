"""Two models' scores on the same examples: the difference, its interval, its p-value.

Scores are float arrays of shape (n,); a difference is candidate less baseline.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
RESAMPLES = 10_000
_FLIPS = 10_000
_EXACT_FLIPS = 12
"""Up to so many differing pairs all sign patterns are counted (4,096), beyond it they are drawn."""
_BLOCK = 1_000_000


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences with its 95 % interval, and a two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float
    test: str


def compare(baseline: Scores, candidate: Scores, *, binary: bool, seed: int = 0) -> Difference:
    """Compare paired scores.

    The interval is the paired bootstrap's. The test is McNemar's exact one for binary scores and a
    sign-flip permutation test otherwise: both keep their level at every n, which the bootstrap
    alone does not.

    Raises:
        ValueError: no pairs, or unequal lengths.
    """
    if len(baseline) != len(candidate) or not len(baseline):
        raise ValueError("paired scores must be of one length, above 0")
    differences = candidate - baseline
    low, high = bootstrap_interval(differences, binary=binary, seed=seed)
    p_value = mcnemar(differences) if binary else sign_flip(differences, seed=seed)
    test = "McNemar, exact" if binary else "sign-flip permutation"
    return Difference(float(differences.mean()), low, high, p_value, test)


def bootstrap_interval(
    differences: Scores, *, binary: bool = False, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of the mean of `differences`: the "expanded percentile" interval.

    Of the bootstrap means 2.5 % would be left out at each end; `expanded_tail` leaves out less, as
    resampling few examples underestimates how much their mean varies.

    Where all differences are equal, resampling has nothing to go by. Right and wrong answers then
    have the interval that so many equal outcomes leave open; other scores have the point.
    """
    count = len(differences)
    mean = float(differences.mean())
    if count == 1 or np.ptp(differences) == 0:
        return _interval_of_equal(mean, count) if binary else (mean, mean)
    generator = np.random.default_rng(seed)
    means: list[Scores] = []
    rows = max(1, _BLOCK // count)
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(0, count, (min(rows, RESAMPLES - start), count))
        means.append(differences[drawn].mean(axis=1))
    tail = expanded_tail(count)
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


@functools.cache
def expanded_tail(count: int) -> float:
    """Share of bootstrap means to leave out at each end, 0.025 for many examples and less for few.

    It makes the interval as wide as Student's: Phi(sqrt(n / (n - 1)) t_(0.025, n - 1)), Hesterberg
    2015, "What Teachers Should Know About the Bootstrap", section 5.3.
    """
    quantile = stats.t.ppf((1 - CONFIDENCE) / 2, count - 1)
    return float(stats.norm.cdf(math.sqrt(count / (count - 1)) * quantile))


def _interval_of_equal(value: float, count: int) -> tuple[float, float]:
    """What `count` equal differences of right and wrong answers leave open.

    With 97.5 % confidence a share of at least 0.025 ** (1 / n) of all examples has this difference
    (Clopper and Pearson 1934); the others may have any from -1 to 1.
    """
    share = ((1 - CONFIDENCE) / 2) ** (1 / count)
    return max(-1.0, share * value - (1 - share)), min(1.0, share * value + (1 - share))


def mcnemar(differences: Scores) -> float:
    """McNemar's exact two-sided p-value: of the pairs that differ, half should favour each side."""
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue)


def sign_flip(differences: Scores, *, seed: int = 0) -> float:
    """Two-sided p-value of the mean under all, or 10,000 drawn, flips of the pairs' signs.

    A drawn p-value counts the observed pattern itself, so that it is never 0 (Phipson and Smyth
    2010).
    """
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    observed = abs(moved.sum()) * (1 - 1e-12)
    if len(moved) <= _EXACT_FLIPS:
        patterns = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        sums = np.abs((1 - 2 * patterns) @ moved)
        return float((sums >= observed).mean())
    generator = np.random.default_rng(seed)
    reached, rows = 0, max(1, _BLOCK // len(moved))
    for start in range(0, _FLIPS, rows):
        signs = generator.integers(0, 2, (min(rows, _FLIPS - start), len(moved))) * 2 - 1
        reached += int((np.abs(signs @ moved) >= observed).sum())
    return (reached + 1) / (_FLIPS + 1)
