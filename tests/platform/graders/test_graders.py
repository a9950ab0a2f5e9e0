"""Graders in OpenAI's form: what is taken, and what is refused with the field that is wrong."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.graders import (
    ScoreModel,
    StringCheck,
    TextSimilarity,
    check_grader,
    filled,
)

ANSWER, REFERENCE = "{{sample.output_text}}", "{{item.reference}}"
CHECK = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": ANSWER,
    "reference": REFERENCE,
}
SIMILAR = {
    "type": "text_similarity",
    "name": "like",
    "evaluation_metric": "rouge_l",
    "input": ANSWER,
    "reference": REFERENCE,
}
JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "big",
    "input": [{"role": "developer", "content": f"Rate: {ANSWER}"}],
    "range": [1, 5],
    "sampling_params": {"temperature": 0.5, "max_completions_tokens": 64, "seed": None},
}


def test_openais_forms_are_taken() -> None:
    assert check_grader(CHECK, "g") == StringCheck("same", "eq", ANSWER, REFERENCE)
    assert check_grader(SIMILAR | {"pass_threshold": 0.8}, "g") == TextSimilarity(
        "like", "rouge_l", ANSWER, REFERENCE, 0.8
    )
    judge = check_grader(JUDGE, "g")
    assert isinstance(judge, ScoreModel)
    assert judge.input == (("system", f"Rate: {ANSWER}"),)
    assert (judge.range, judge.compares) == ((1.0, 5.0), False)
    assert judge.sampling_params == {"temperature": 0.5, "max_completions_tokens": 64}


def test_a_judge_without_messages_compares_the_two_answers() -> None:
    judge = check_grader({"type": "score_model", "model": "big"}, "g")
    assert isinstance(judge, ScoreModel)
    assert judge.compares


@pytest.mark.parametrize(
    "content",
    [
        {"type": "input_text", "text": ANSWER},
        [{"type": "input_text", "text": "Rate"}, {"type": "output_text", "text": ANSWER}],
        ["Rate", ANSWER],
    ],
)
def test_a_judges_messages_may_be_blocks_of_text(content: object) -> None:
    judge = check_grader(JUDGE | {"input": [{"role": "user", "content": content}]}, "g")
    assert isinstance(judge, ScoreModel)
    assert judge.input[0][1].endswith(ANSWER)


@pytest.mark.parametrize(
    ("grader", "field"),
    [
        ({}, "type"),
        ({"type": ["string_check"]}, "type"),
        ({"type": "python", "name": "x", "source": "def grade(): ..."}, "type"),
        (CHECK | {"operation": "equals"}, "operation"),
        (CHECK | {"operation": {}}, "operation"),
        (CHECK | {"name": ""}, "name"),
        (CHECK | {"input": 3}, "input"),
        (CHECK | {"input": "{{sample.output_tools}}"}, "input"),
        (CHECK | {"reference": "{{ item.nothing }}"}, "reference"),
        (CHECK | {"extra": 1}, "extra"),
        (SIMILAR | {"evaluation_metric": "cosine"}, "evaluation_metric"),
        (SIMILAR | {"evaluation_metric": "meteor"}, "evaluation_metric"),
        (SIMILAR | {"evaluation_metric": ["bleu"]}, "evaluation_metric"),
        (SIMILAR | {"pass_threshold": 1.5}, "pass_threshold"),
        (SIMILAR | {"pass_threshold": float("nan")}, "pass_threshold"),
        (JUDGE | {"model": None}, "model"),
        (JUDGE | {"range": [5, 1]}, "range"),
        (JUDGE | {"range": [0, float("inf")]}, "range"),
        (JUDGE | {"input": "Rate it"}, "input"),
        (JUDGE | {"input": [{"role": "user", "content": "Rate it."}]}, "input"),
        (JUDGE | {"input": [{"role": "tool", "content": ANSWER}]}, "input.0"),
        (JUDGE | {"input": [{"role": "user", "content": [[ANSWER]]}]}, "input.0.content"),
        (
            JUDGE | {"input": [{"role": "user", "content": {"type": "input_image", "text": "x"}}]},
            "input.0.content",
        ),
        (JUDGE | {"sampling_params": {"best_of": 3}}, "sampling_params"),
        (JUDGE | {"sampling_params": {"temperature": "hot"}}, "sampling_params.temperature"),
        (JUDGE | {"sampling_params": {"seed": 1.5}}, "sampling_params.seed"),
    ],
)
def test_what_is_wrong_is_named(grader: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_grader(grader, "testing_criteria.0")
    assert refused.value.param == f"testing_criteria.0.{field}"


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    base=st.sampled_from([CHECK, SIMILAR, JUDGE]),
    field=st.sampled_from(sorted({*CHECK, *SIMILAR, *JUDGE})),
    value=values,
)
def test_no_value_does_worse_than_be_refused(base: dict[str, Any], field: str, value: Any) -> None:
    with contextlib.suppress(InvalidRequest):
        check_grader(base | {field: value}, "g")


def test_what_comes_from_data_is_not_looked_through_for_variables() -> None:
    variables = {"item.reference": "SECRET", "sample.output_text": REFERENCE}
    assert filled("{{ sample.output_text }}!", variables) == "{{item.reference}}!"
