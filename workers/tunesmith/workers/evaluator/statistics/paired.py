"""Two models' scores on the same examples: the difference, its interval, its p-value, its power.

Scores are float arrays of shape (n,); a difference is candidate less baseline.
"""

from __future__ import annotations

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

    The interval is the paired bootstrap's percentile interval (Efron and Tibshirani 1993, ch. 13),
    stretched by sqrt(n / (n - 1)) since resampling underestimates a small sample's variance. The
    test is McNemar's exact one for binary scores and a sign-flip permutation test otherwise: both
    keep their level at every n, which the bootstrap alone does not.

    Raises:
        ValueError: no pairs, or unequal lengths.
    """
    if len(baseline) != len(candidate) or not len(baseline):
        raise ValueError("paired scores must be of one length, above 0")
    differences = candidate - baseline
    low, high = bootstrap_interval(differences, seed=seed)
    p_value = mcnemar(differences) if binary else sign_flip(differences, seed=seed)
    test = "McNemar, exact" if binary else "sign-flip permutation"
    return Difference(float(differences.mean()), low, high, p_value, test)


def bootstrap_interval(differences: Scores, *, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `differences`, widened for small samples."""
    count = len(differences)
    if count == 1 or np.ptp(differences) == 0:
        return float(differences.mean()), float(differences.mean())
    generator = np.random.default_rng(seed)
    means: list[Scores] = []
    rows = max(1, _BLOCK // count)
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(0, count, (min(rows, RESAMPLES - start), count))
        means.append(differences[drawn].mean(axis=1))
    mean = differences.mean()
    spread = (np.concatenate(means) - mean) * math.sqrt(count / (count - 1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(spread, (tail, 1 - tail)) + mean
    return float(low), float(high)


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


def detectable_difference(baseline: Scores, candidate: Scores, *, power: float = 0.8) -> float:
    """The smallest true difference that so many pairs show with 80 % power at the 5 % level.

    By the normal approximation (z_0.975 + z_power) x s / sqrt(n), s the standard deviation of the
    paired differences; where all are equal, s of pairs that differ in a tenth of the cases.
    """
    differences = candidate - baseline
    count = len(differences)
    spread = float(differences.std(ddof=1)) if count > 1 else 0.0
    if spread == 0.0:
        spread = math.sqrt(0.1)
    needed = float(stats.norm.ppf(0.5 + CONFIDENCE / 2) + stats.norm.ppf(power))
    return min(1.0, needed * spread / math.sqrt(count))
