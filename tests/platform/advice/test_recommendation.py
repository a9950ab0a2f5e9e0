"""Whether to tune at all: the rules, and that what is unknown is asked."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.advice.advice import advise
from tunesmith.platform.advice.recommendation import Recommendation, Situation, recommend
from tunesmith.platform.advice.span import Span, parse_span

GOOD = Situation(
    examples=300,
    task_repetitive=True,
    prompting_sufficient=False,
    stronger_model_sufficient=False,
    task_novel=False,
    one_off=False,
)


def rules(found: Recommendation, side: str) -> set[str]:
    return {reason.rule for reason in found.reasons if reason.side == side}


def test_a_repetitive_task_with_examples_that_prompting_did_not_solve_is_tuned() -> None:
    found = recommend(GOOD)
    assert found.verdict == "fine_tune"
    assert rules(found, "for") == {"repetitive", "prompting_not_enough", "enough_examples"}
    assert rules(found, "against") == set()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"task_repetitive": False}, "not_repetitive"),
        ({"task_novel": True}, "novel"),
        ({"one_off": True}, "one_off"),
        ({"examples": 0}, "no_data"),
        ({"prompting_sufficient": True}, "prompting_sufficient"),
        ({"stronger_model_sufficient": True}, "stronger_model_sufficient"),
    ],
)
def test_each_reason_against_decides_alone(change: dict[str, Any], rule: str) -> None:
    found = recommend(dataclasses.replace(GOOD, **change))
    assert found.verdict == "do_not_fine_tune"
    assert rules(found, "against") == {rule}


@pytest.mark.parametrize(
    ("examples", "verdict", "cautions"),
    [
        (1, "collect_examples_first", set()),
        (49, "collect_examples_first", set()),
        (50, "fine_tune", {"more_examples"}),
        (99, "fine_tune", {"more_examples"}),
        (100, "fine_tune", set()),
        (1000, "fine_tune", set()),
    ],
)
def test_the_number_of_examples(examples: int, verdict: str, cautions: set[str]) -> None:
    found = recommend(dataclasses.replace(GOOD, examples=examples))
    assert found.verdict == verdict
    assert rules(found, "caution") == cautions


def test_nothing_known_decides_nothing_and_asks_everything() -> None:
    found = recommend(Situation())
    assert (found.verdict, found.reasons) == ("undecided", [])
    assert len(found.questions) == len(dataclasses.fields(Situation)) + 1  # and the costs


FACTS = st.builds(
    Situation,
    examples=st.none() | st.integers(0, 5000),
    **{
        field.name: st.none() | st.booleans()
        for field in dataclasses.fields(Situation)
        if field.name != "examples"
    },
)


@given(FACTS)
def test_a_verdict_rests_on_its_reasons(situation: Situation) -> None:
    found = recommend(situation)
    against = rules(found, "against")
    assert (found.verdict == "do_not_fine_tune") == bool(against - {"few_examples"})
    if found.verdict == "fine_tune":
        assert not against
        assert situation.task_repetitive
        assert situation.prompting_sufficient is False
        assert situation.examples is not None
        assert situation.examples >= 50
    if found.verdict == "undecided":
        assert found.questions


@pytest.mark.parametrize(
    ("monthly", "verdict", "side", "rule"),
    [
        ([50, 100], "fine_tune", "for", "pays"),
        ([150, 160], "fine_tune", "caution", "pays_late"),
        ([50, 310], "fine_tune", "caution", "may_never_pay"),
        ([200, 500], "do_not_fine_tune", "against", "never_pays"),
        (300, "do_not_fine_tune", "against", "never_pays"),
    ],
)
def test_costs_that_never_return_are_a_reason_against(
    monthly: Any, verdict: str, side: str, rule: str
) -> None:
    given = {
        "queries_per_month": Span(10_000, 10_000),
        "price_per_query": Span(0.03, 0.03),
        "upfront_cost": Span(2000, 5000),
        "monthly_cost": parse_span(monthly),
    }
    found = advise(given, GOOD).recommendation
    assert found.verdict == verdict
    assert rule in rules(found, side)
    assert found.questions == []
