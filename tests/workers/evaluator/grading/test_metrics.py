"""Metrics: chosen by what the right answers are, and right about single answers."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.graders import StringCheck, TextSimilarity, check_grader
from tunesmith.workers.evaluator.grading.choice import NamedCheck, fitting_metric
from tunesmith.workers.evaluator.grading.labels import (
    LabelAccuracy,
    confusion,
    macro_f1,
)
from tunesmith.workers.evaluator.grading.metric import Metric
from tunesmith.workers.evaluator.grading.structured import (
    JsonFields,
    NumberWithin,
    ToolCalls,
    calls_as_text,
    is_number,
)
from tunesmith.workers.evaluator.grading.texts import ExactMatch, FreeText, gleu, rouge


def call(name: str, arguments: object, call_id: str = "call_1") -> dict[str, object]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function}


def calls(*made: dict[str, object]) -> str:
    return calls_as_text(list(made))


SENTENCE = "The parcel left our warehouse on Monday and should reach you by the end of the week."


@pytest.mark.parametrize(
    ("references", "kind"),
    [
        ([calls(call("look", {"city": f"c{n}"})) for n in range(20)], "tool_calls"),
        ([json.dumps({"id": n, "ok": True}) for n in range(20)], "json"),
        (["Billing", "shipping", "billing.", "Shipping"] * 5, "label"),
        (["1", "2", "3", "4", "5"] * 6, "label"),
        ([f"{n}.50 EUR" for n in range(20)], "number"),
        ([f"$1,{n:03}.00" for n in range(20)], "number"),
        ([f"ORD-{48_000 + n}" for n in range(20)], "exact"),
        ([f"00{412 + n}" for n in range(20)], "exact"),
        ([f"{1950 + n}" for n in range(20)], "exact"),
        ([f"Jane Doe {n}" for n in range(20)], "exact"),
        ([f"{SENTENCE} {n}" for n in range(20)], "text"),
        (["包裹已于周一离开我们的仓库" * 8 + str(n) for n in range(20)], "text"),
        ([json.dumps({"n": n}) for n in range(5)] + [SENTENCE + str(n) for n in range(5)], "text"),
        ([], "exact"),
    ],
)
def test_the_answers_choose_the_metric(references: list[str], kind: str) -> None:
    assert fitting_metric(references).kind == kind


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=30), st.data())
def test_every_metric_scores_from_0_to_1_and_the_right_answer_best(
    references: list[str], data: st.DataObject
) -> None:
    metric = fitting_metric(references)
    answers = [data.draw(st.sampled_from(references) | st.text(max_size=40)) for _ in references]
    for reference, answer in zip(references, answers, strict=True):
        right, given_score = metric.score(reference, reference), metric.score(reference, answer)
        assert 0.0 <= given_score <= right + 1e-9 <= 1.0 + 2e-9
        assert not metric.binary or given_score in (0.0, 1.0)
    for figure in metric.figures(references, answers):
        assert 0.0 <= figure.value <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("metric", "reference", "answer", "score"),
    [
        (LabelAccuracy(), "Billing", " billing.\n", 1.0),
        (LabelAccuracy(), "Billing", "It is billing", 0.0),
        (ExactMatch(), "Jane Doe", " Jane  Doe ", 1.0),
        (ExactMatch(), "Jane Doe", "jane doe", 0.0),
        (NumberWithin(), "100", "101", 1.0),
        (NumberWithin(), "100", "101.1", 0.0),
        (NumberWithin(), "0", "0.0", 1.0),
        (NumberWithin(), "0", "0.001", 0.0),
        (NumberWithin(), "$1,200", "The total is 1200.00 dollars.", 1.0),
        (NumberWithin(), "5", "five", 0.0),
        (JsonFields(), '{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}', 1.0),
        (JsonFields(), '{"a": 1, "b": 2}', '{"a": 1}', 0.5),
        (JsonFields(), '{"a": 1}', '{"a": 1, "b": 2}', 0.5),
        (JsonFields(), '{"a": 1}', '{"a": true}', 0.0),
        (JsonFields(), '{"a": [1, {"b": 2}]}', '{"a": [1, {"b": 3}]}', 0.5),
        (JsonFields(), '{"a.b": 1}', '{"a": {"b": 1}}', 0.0),
        (JsonFields(), '{"a": null}', '{"b": null}', 0.0),
        (JsonFields(), '{"a": {}}', '{"a": []}', 0.0),
        (JsonFields(), '{"a": 1}', '```json\n{"a": 1}\n```', 1.0),
        (JsonFields(), '{"a": 1}', '{"a": NaN}', 0.0),
        (JsonFields(), '{"a": 1}', "[" * 100_000, 0.0),
        (JsonFields(), '{"a": 1}', "a is 1", 0.0),
        (ToolCalls(), calls(call("f", {"a": 1, "b": 2})), calls(call("f", {"b": 2, "a": 1})), 1.0),
        (ToolCalls(), calls(call("f", {}, "one")), calls(call("f", {}, "other")), 1.0),
        (ToolCalls(), calls(call("f", {})), calls(call("f", {}), call("f", {})), 0.0),
        (ToolCalls(), calls(call("f", {})), calls(call("g", {})), 0.0),
        (ToolCalls(), calls(call("f", {})), "I will call f.", 0.0),
        (ToolCalls(), "Which city?", "In which one?", 1.0),
        (ToolCalls(), "Which city?", calls(call("f", {})), 0.0),
        (FreeText(), SENTENCE, "", 0.0),
        (FreeText(), SENTENCE, SENTENCE, 1.0),
    ],
)
def test_single_answers(metric: Metric, reference: str, answer: str, score: float) -> None:
    assert metric.score(reference, answer) == pytest.approx(score)


def figures(metric: Metric, references: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    return {figure.name: figure.value for figure in metric.figures(references, answers)}


def test_fenced_json_has_the_right_fields_and_is_not_valid() -> None:
    found = figures(JsonFields(), ['{"a": 1}'] * 4, ['{"a": 1}', '```\n{"a": 1}\n```', "{}", "no"])
    assert found == {"valid JSON": 0.5, "all fields right": 0.5}


def test_labels_have_a_confusion_matrix_and_macro_f1_as_scikit_learn_has() -> None:
    from sklearn.metrics import f1_score

    expected = ["a", "a", "a", "a", "b", "b", "c", "c"]
    answered = ["a", "A.", "b", "what?", "b", "a", "c", "b"]
    labels, matrix = confusion(expected, answered)
    assert labels == ["a", "b", "c"]
    assert matrix == [[2, 1, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0]]
    plain = [answer.lower().rstrip(".") for answer in answered]
    assert macro_f1(expected, answered) == pytest.approx(
        f1_score(expected, plain, labels=labels, average="macro")
    )


@pytest.mark.parametrize(
    "text", ["42", "-3.5", "1,234.50", "€ 5", "EUR 12", "30 km/h", "12 %", ".5"]
)
def test_quantities(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize(
    "text",
    ["ORD-48213", "INV48213", "SKU 123", "00412", "4915112345678", "2024-01-15", "10:30", ""],
)
def test_identifiers_dates_and_times_are_no_quantities(text: str) -> None:
    assert not is_number(text)


def check(**fields: str) -> NamedCheck:
    made = check_grader(
        {"name": "n", "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}
        | fields,
        "grader",
    )
    assert isinstance(made, StringCheck | TextSimilarity)
    return NamedCheck(made)


@pytest.mark.parametrize(
    ("operation", "answer", "score"),
    [
        ("eq", "Yes", 1.0), ("eq", "yes", 0.0), ("ne", "yes", 1.0), ("ne", "Yes", 0.0),
        ("like", "Oh Yes!", 1.0), ("like", "oh yes", 0.0), ("ilike", "oh yes", 1.0),
        ("ilike", "no", 0.0),
    ],
)  # fmt: skip
def test_string_checks(operation: str, answer: str, score: float) -> None:
    assert check(type="string_check", operation=operation).score("Yes", answer) == score


@pytest.mark.parametrize(
    "metric",
    [
        "fuzzy_match",
        "bleu",
        "gleu",
        "rouge_1",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
        "rouge_l",
    ],
)
@pytest.mark.parametrize("text", [SENTENCE, "Посылка ушла со склада в понедельник утром рано"])
def test_similarities_of_equal_texts_are_1_in_any_script(metric: str, text: str) -> None:
    similar = check(type="text_similarity", evaluation_metric=metric)
    assert similar.score(text, text) == pytest.approx(1.0)
    assert similar.score(text, "zzz") < 0.3


def test_rouge_and_gleu_of_known_texts() -> None:
    assert rouge("the cat sat on the mat", "the cat on the mat", "rougeL") == pytest.approx(10 / 11)
    assert rouge("the cat sat", "the dog sat", "rouge2") == 0.0
    # 3 of 4 words, 1 of 3 pairs, 0 of 2 threes and of the one four: 4 of 10 n-grams.
    assert gleu("the cat sat down", "the cat lay down") == pytest.approx(4 / 10)
