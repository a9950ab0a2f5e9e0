"""Which metric decides: what the right answers are says it, or the grader that was named."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from tunesmith.platform.data_report.labels import LONGEST_LABEL, is_categorical
from tunesmith.platform.graders import StringCheck, TextSimilarity, filled

from .labels import LabelAccuracy
from .metric import Figure, Metric
from .structured import (
    JsonFields,
    NumberWithin,
    ToolCalls,
    is_json,
    is_number,
    is_tool_calls,
)
from .texts import ExactMatch, FreeText, bleu, fuzzy_match, gleu, rouge

_SHORT_WORDS = 5
_MOSTLY = 0.9


def fitting_metric(references: Sequence[str]) -> Metric:
    """The metric for these right answers, the strictest that they allow.

    Tool calls, JSON, numbers and labels where (nearly) all answers are such; exact match where
    nine out of ten have at most five words and 60 characters (Chinese has no spaces between words);
    chrF otherwise.
    """
    if _mostly(references, is_tool_calls):
        return ToolCalls()
    if _mostly(references, is_json):
        return JsonFields()
    if is_categorical(references):
        return LabelAccuracy()
    if _mostly(references, is_number):
        return NumberWithin()
    short = not references or _mostly(references, _is_short)
    return ExactMatch() if short else FreeText()


def _is_short(text: str) -> bool:
    return len(text.split()) <= _SHORT_WORDS and len(text) <= LONGEST_LABEL


def _mostly(texts: Sequence[str], is_such: Callable[[str], bool]) -> bool:
    return bool(texts) and sum(map(is_such, texts)) / len(texts) >= _MOSTLY


class NamedCheck:
    """A `string_check` or `text_similarity` of OpenAI's."""

    kind = "grader"

    def __init__(self, grader: StringCheck | TextSimilarity) -> None:
        self._grader = grader
        self.name = grader.name
        self.binary = isinstance(grader, StringCheck)
        self.passes = grader.pass_threshold if isinstance(grader, TextSimilarity) else 1.0

    def score(self, reference: str, answer: str, question: str = "") -> float:
        """The grader's score."""
        variables = {
            "item.input": question,
            "item.reference": reference,
            "sample.output_text": answer,
        }
        given = filled(self._grader.input, variables)
        expected = filled(self._grader.reference, variables)
        if isinstance(self._grader, StringCheck):
            return float(_CHECKS[self._grader.operation](expected, given))
        return _SIMILARITIES[self._grader.metric](expected, given)

    def figures(
        self,
        references: Sequence[str],  # noqa: ARG002
        answers: Sequence[str],  # noqa: ARG002
    ) -> list[Figure]:
        """None: the grader is the one that was asked for."""
        return []


_CHECKS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda expected, given: expected == given,
    "ne": lambda expected, given: expected != given,
    "like": lambda expected, given: expected in given,
    "ilike": lambda expected, given: expected.casefold() in given.casefold(),
}
_SIMILARITIES: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    **{f"rouge_{n}": functools.partial(rouge, kind=f"rouge{n}") for n in range(1, 6)},
    "rouge_l": functools.partial(rouge, kind="rougeL"),
}
