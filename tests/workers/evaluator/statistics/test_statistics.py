"""The statistics against oracles: nominal false positives, the power that theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunesmith.workers.evaluator.statistics import paired, verdict
from tunesmith.workers.evaluator.statistics.paired import (
    bootstrap_interval,
    compare,
    expanded_tail,
    mcnemar,
    sign_flip,
)
from tunesmith.workers.evaluator.statistics.verdict import Constant, Verdict, decide

TRIALS = 2000


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
    trials = TRIALS if count <= 50 else TRIALS // 2
    wrong = 0
    for _ in range(trials):
        if binary:
            before, after = random.random((2, count)) < 0.6
        else:
            shared = random.beta(2, 2, count)
            before, after = np.clip(shared + random.normal(0, 0.1, (2, count)), 0, 1)
        found = decide(before.astype(float), after.astype(float), binary=binary)
        wrong += found.verdict is not Verdict.NO_CLEAR_DIFFERENCE
    assert wrong / trials <= allowed(0.05, trials)
    assert wrong / trials <= 0.06 + 3 * math.sqrt(0.06 * 0.94 / trials)


def power_of_mcnemar(count: int, gained: float, lost: float) -> float:
    """The exact test's power, by enumeration of all outcomes."""
    power = 0.0
    for n in range(count + 1):
        chance = stats.binom.pmf(n, count, gained + lost)
        if chance < 1e-12:
            continue
        k = np.arange(n + 1)
        p = np.array([stats.binomtest(int(i), n, 0.5).pvalue if n else 1.0 for i in k])
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
    for _ in range(TRIALS):
        draw = random.random(count)
        before = (draw < lost) | (draw > 0.7)
        after = ((draw >= lost) & (draw < lost + gained)) | (draw > 0.7)
        found += (
            decide(before.astype(float), after.astype(float), binary=True).verdict is Verdict.BETTER
        )
    assert abs(found / TRIALS - power_of_mcnemar(count, gained, lost)) < 0.04


@pytest.mark.usefixtures("fewer_resamples")
def test_a_known_shift_of_scores_is_found_as_often_as_the_t_test_finds_it() -> None:
    random = np.random.default_rng(2)
    count, shift, spread = 40, 0.05, 0.1
    effect = shift / spread * math.sqrt(count)
    critical = stats.t.ppf(0.975, count - 1)
    theory = float(stats.nct.sf(critical, count - 1, effect))
    found = 0
    for _ in range(TRIALS):
        before = random.random(count)
        after = before + random.normal(shift, spread, count)
        found += decide(before, after, binary=False).verdict is Verdict.BETTER
    assert abs(found / TRIALS - theory) < 0.04


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
