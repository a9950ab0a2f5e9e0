"""The statistics against oracles: nominal false positives, the power that theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tunesmith.workers.evaluator.statistics import paired, verdict
from tunesmith.workers.evaluator.statistics.paired import (
    bootstrap_interval,
    compare,
    expanded_tail,
    mcnemar,
    sign_flip,
)
from tunesmith.workers.evaluator.statistics.power import detectable_difference
from tunesmith.workers.evaluator.statistics.verdict import Constant, Verdict, decide

TRIALS = 2000
"""A rate of 5 % has a standard error of 0.5 points in so many."""

POWER_TRIALS = 1000
"""A rate of 50 % has one of 1.6 points."""


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    # The level of a test does not depend on them; a simulation's time does.
    monkeypatch.setattr(paired, "RESAMPLES", 400)
    monkeypatch.setattr(paired, "_FLIPS", 400)
    # A figure beside the verdict, and slow to work out thousands of times.
    monkeypatch.setattr(verdict, "detectable_difference", lambda *_, **__: None)


def allowed(rate: float, trials: int) -> float:
    """`rate` and three standard errors of a simulation of so many trials."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / trials)


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("count", [10, 20, 50, 100, 200])
@pytest.mark.parametrize("binary", [True, False])
def test_equal_models_are_called_different_in_at_most_six_percent(count: int, binary: bool) -> None:
    random = np.random.default_rng(count)
    wrong = 0
    for _ in range(TRIALS):
        if binary:
            before, after = random.random((2, count)) < 0.6
        else:
            shared = random.beta(2, 2, count)
            before, after = np.clip(shared + random.normal(0, 0.1, (2, count)), 0, 1)
        if far_from_clear(after.astype(float) - before.astype(float)):
            continue
        found = decide(before.astype(float), after.astype(float), binary=binary)
        wrong += found.verdict is not Verdict.NO_CLEAR_DIFFERENCE
    assert wrong / TRIALS <= allowed(0.05, TRIALS)


def far_from_clear(differences: NDArray[np.float64]) -> bool:
    """Whether the mean is within 1.2 standard errors of 0: no test calls that different.

    It spares most of a simulation's time. `test_what_is_far_from_clear_...` tries the claim.
    """
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    return bool(abs(differences.mean()) <= 1.2 * error)


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("binary", [True, False])
def test_what_is_far_from_clear_is_never_called_different(binary: bool) -> None:
    random = np.random.default_rng(6)
    for count in (10, 20, 50) * 40:
        draw = random.random((2, count))
        before, after = (draw < 0.6).astype(float) if binary else draw
        if far_from_clear(after - before):
            found = decide(before, after, binary=binary)
            assert found.verdict is Verdict.NO_CLEAR_DIFFERENCE


def power_of_mcnemar(count: int, gained: float, lost: float) -> float:
    """The exact test's power, by enumeration of all outcomes."""
    power = 0.0
    for n in range(count + 1):
        chance = stats.binom.pmf(n, count, gained + lost)
        if chance < 1e-12:
            continue
        k = np.arange(n + 1)
        p = np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(k, n - k), n, 0.5))
        hit = (p <= 0.05) & (k > n - k)
        power += chance * stats.binom.pmf(k, n, gained / (gained + lost))[hit].sum()
    return power


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize(("count", "gained", "lost"), [(50, 0.3, 0.1), (100, 0.2, 0.08)])
def test_a_known_gain_is_found_as_often_as_theory_says(
    count: int, gained: float, lost: float
) -> None:
    random = np.random.default_rng(1)
    found = 0
    for _ in range(POWER_TRIALS):
        draw = random.random(count)
        before = (draw < lost) | (draw > 0.7)
        after = ((draw >= lost) & (draw < lost + gained)) | (draw > 0.7)
        found += (
            decide(before.astype(float), after.astype(float), binary=True).verdict is Verdict.BETTER
        )
    assert abs(found / POWER_TRIALS - power_of_mcnemar(count, gained, lost)) < 0.04


@pytest.mark.usefixtures("fewer_resamples")
def test_a_known_shift_of_scores_is_found_as_often_as_the_t_test_finds_it() -> None:
    random = np.random.default_rng(2)
    count, shift, spread = 40, 0.05, 0.1
    effect = shift / spread * math.sqrt(count)
    critical = stats.t.ppf(0.975, count - 1)
    theory = float(stats.nct.sf(critical, count - 1, effect))
    found = 0
    for _ in range(POWER_TRIALS):
        before = random.random(count)
        after = before + random.normal(shift, spread, count)
        found += decide(before, after, binary=False).verdict is Verdict.BETTER
    assert abs(found / POWER_TRIALS - theory) < 0.04


def test_single_cases_agree_with_scipy() -> None:
    random = np.random.default_rng(3)
    differences = random.normal(0.1, 0.3, 60)
    reference = stats.bootstrap(
        (differences,),
        np.mean,
        method="percentile",
        n_resamples=50_000,
        confidence_level=1 - 2 * expanded_tail(60),
        rng=random,
    ).confidence_interval
    assert bootstrap_interval(differences) == pytest.approx(tuple(reference), abs=0.005)
    few = differences[:9]
    exact = stats.permutation_test((few,), np.mean, permutation_type="samples")
    assert sign_flip(few) == pytest.approx(exact.pvalue)
    pairs = np.array([1.0] * 8 + [-1.0] * 2 + [0.0] * 30)
    assert mcnemar(pairs) == stats.binomtest(8, 10).pvalue


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=10, max_size=40))
def test_exchanging_the_models_exchanges_the_verdict(pairs: list[tuple[float, float]]) -> None:
    before, after = (np.array(side) for side in zip(*pairs, strict=True))
    one, other = (decide(*sides, binary=False) for sides in ((before, after), (after, before)))
    swapped = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert other.verdict is swapped.get(one.verdict, one.verdict)
    assert one.difference is not None
    assert one.difference.low <= one.difference.value + 1e-9 <= one.difference.high + 2e-9


def test_too_few_examples_get_no_verdict_however_clear_they_look() -> None:
    for count in (0, 1, 9):
        found = decide([0.0] * count, [1.0] * count, binary=True)
        assert found.verdict is Verdict.TOO_FEW_EXAMPLES
        assert found.difference is None
        assert "10" in found.summary
    assert decide([0.0] * 10, [1.0] * 10, binary=True).verdict is Verdict.BETTER


def test_an_improvement_from_nothing_meets_every_bar() -> None:
    found = decide([0.0] * 20, [1.0] * 15 + [0.0] * 5, binary=True, bar=5.0)
    assert (found.relative_improvement, found.bar_met) == (None, True)


def test_a_small_gain_is_better_and_misses_the_bar() -> None:
    before = [1.0] * 80 + [0.0] * 20
    after = [1.0] * 90 + [0.0] * 10
    found = decide(before, after, binary=True)
    assert (found.verdict, found.bar_met) == (Verdict.BETTER, False)
    assert found.relative_improvement == pytest.approx(0.125)


def test_guessing_the_commonest_answer_is_not_better_than_a_base_that_says_nothing() -> None:
    random = np.random.default_rng(4)
    expected = random.integers(0, 8, 160)
    guessed = (random.integers(0, 8, 160) == expected).astype(float)
    constant = Constant("billing", (expected == np.bincount(expected).argmax()).astype(float))
    assert decide([0.0] * 160, guessed, binary=True).verdict is Verdict.BETTER
    found = decide([0.0] * 160, guessed, binary=True, constant=constant)
    assert found.verdict is Verdict.NO_CLEAR_DIFFERENCE
    assert any("always answering 'billing'" in reason for reason in found.reasons)
    good = (random.random(160) < 0.9).astype(float)
    assert decide([0.0] * 160, good, binary=True, constant=constant).verdict is Verdict.BETTER


def test_equal_scores_are_no_difference() -> None:
    found = compare(np.ones(30), np.ones(30), binary=False)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_so_few_equal_outcomes_leave_much_open() -> None:
    all_won = decide([0.0] * 10, [1.0] * 10, binary=True).difference
    assert all_won is not None
    # At least 0.025 ** 0.1 = 69 % of all examples are won; the others may all be lost.
    assert all_won.low == pytest.approx(2 * 0.025**0.1 - 1)
    assert all_won.high == 1.0
    same = decide([1.0] * 10, [1.0] * 10, binary=True).difference
    assert same is not None
    assert same.high == -same.low == pytest.approx(1 - 0.025**0.1)


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("count", [10, 30])
def test_the_interval_holds_the_truth_95_times_of_100(count: int) -> None:
    random = np.random.default_rng(count)
    trials = 600
    held = 0
    for _ in range(trials):
        low, high = bootstrap_interval(random.normal(0.2, 1.0, count))
        held += low <= 0.2 <= high
    assert held / trials == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / trials))


def test_20_percent_more_meets_a_bar_of_20_percent() -> None:
    found = decide([1.0] * 40 + [0.0] * 60, [1.0] * 48 + [0.0] * 52, binary=True)
    assert found.relative_improvement != 0.2  # 0.08 / 0.4 is a little less, in floating point
    assert (found.verdict, found.bar_met, found.bar_certain) == (Verdict.BETTER, True, False)


def test_a_bar_that_no_model_can_reach_is_said_to_be_such() -> None:
    found = decide([1.0] * 90 + [0.0] * 10, [1.0] * 100, binary=True)
    assert (found.verdict, found.bar_met) == (Verdict.BETTER, False)
    assert any("No model could reach the bar" in reason for reason in found.reasons)


def test_the_detectable_difference_is_found_four_times_of_five() -> None:
    pairs = np.array([1.0] * 6 + [-1.0] * 4 + [0.0] * 30)
    smallest = detectable_difference(pairs, binary=True)
    assert smallest is not None
    gained, lost = (max(0.25, smallest) + smallest) / 2, (max(0.25, smallest) - smallest) / 2
    assert power_of_mcnemar(40, gained, lost) == pytest.approx(0.8, abs=0.01)
    graded = np.random.default_rng(7).normal(0.0, 0.2, 40)
    smallest = detectable_difference(graded, binary=False)
    assert smallest is not None
    effect = smallest / graded.std(ddof=1) * math.sqrt(40)
    assert stats.nct.sf(stats.t.ppf(0.975, 39), 39, effect) == pytest.approx(0.8, abs=0.01)
    # Six wins of six are the least that is significant: with 10 examples that takes much.
    smallest = detectable_difference(np.zeros(10), binary=True)
    assert smallest is not None
    assert smallest > 0.6
    assert detectable_difference(np.zeros(5), binary=True) is None
