"""Answers that are JSON, numbers or tool calls."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from .metric import Figure

RELATIVE_TOLERANCE = 0.01
"""A number within one percent is right: what is read off a text is seldom exact to the last."""

_FENCE = re.compile(r"\A\s*```[a-z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_UNIT = r"[^\W\d_]{1,12}|[^\w\s]{1,2}"
_CURRENCIES = "USD|EUR|GBP|JPY|CHF|CNY|INR|CAD|AUD|BRL|MXN|KRW|SEK|NOK|DKK|PLN|CZK|TRY|ZAR"
_QUANTITY = re.compile(
    rf"(?:(?:{_CURRENCIES})\s|[A-Z]{{0,3}}[^\w\s.,#+-]\s?)?(?P<number>{_NUMBER.pattern})"
    rf"(?:\s?(?:{_UNIT})(?:[/²³](?:{_UNIT}|))?)?"
)
_IDENTIFIER = re.compile(r"0\d|\d{9}|(?:19|20)\d\d\Z")


def parse_json(text: str) -> Any:
    """The JSON value of an answer, a code fence around it left out.

    Raises:
        ValueError: it is not JSON.
    """
    fenced = _FENCE.match(text)
    return json.loads(fenced[1] if fenced else text, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")  # Python reads NaN and Infinity; nobody else does


def is_json(text: str) -> bool:
    """Whether an answer is a JSON object or list."""
    try:
        return isinstance(parse_json(text), dict | list)
    except (ValueError, RecursionError):
        return False


class JsonFields:
    """The share of fields that are there and equal, 0 for what is not JSON.

    Fields are the leaves of the reference by their path, and those that the answer has besides:
    an invented field costs as much as a missing one.
    """

    name = "field accuracy"
    kind = "json"
    binary = False
    passes = 1.0

    def score(self, reference: str, answer: str) -> float:
        """Share of equal fields among those of either."""
        try:
            expected, given = _leaves(parse_json(reference)), _leaves(parse_json(answer))
        except (ValueError, RecursionError):
            return 0.0
        paths = expected.keys() | given.keys()
        missing = object()
        equal = sum(expected.get(path, missing) == given.get(path) for path in paths)
        return equal / len(paths) if paths else 1.0

    def figures(self, references: Sequence[str], answers: Sequence[str]) -> list[Figure]:
        """How many are JSON as they stand, without a fence, and how many are right throughout."""
        exact = sum(self.score(r, a) == 1.0 for r, a in zip(references, answers, strict=True))
        return [
            Figure("valid JSON", sum(map(_is_bare_json, answers)) / len(answers)),
            Figure("all fields right", exact / len(answers)),
        ]


def _is_bare_json(text: str) -> bool:
    return is_json(text) and not _FENCE.match(text)


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    if isinstance(value, dict) and value:
        parts: list[tuple[str | int, Any]] = list(value.items())
    elif isinstance(value, list) and value:
        parts = list(enumerate(value))
    else:
        return {path: (type(value).__name__ if isinstance(value, bool) else "", value)}
    found: dict[tuple[str | int, ...], Any] = {}
    for name, item in parts:
        found |= _leaves(item, (*path, name))
    return found


def number_in(text: str) -> float | None:
    """The only number in a text, or the last of several; thousands separators are left out."""
    found = _NUMBER.findall(text)
    if not found:
        return None
    value = float(found[-1].replace(",", ""))
    return value if math.isfinite(value) else None


def is_number(text: str) -> bool:
    """Whether a text is a quantity: one number, a unit or a currency beside it at most.

    Where a neighbouring number is wrong, and not nearly right, it is none: "ORD-48213", "00412",
    digits in a row of 9 or more, and years.
    """
    text = text.strip()
    return bool(_QUANTITY.fullmatch(text)) and not _IDENTIFIER.match(text.lstrip("+-"))


class NumberWithin:
    """1 for a number within one percent of the right one."""

    name = "number right to 1 %"
    kind = "number"
    binary = True
    passes = 1.0

    def score(self, reference: str, answer: str) -> float:
        """Whether the answer's number is close enough."""
        expected, given = number_in(reference), number_in(answer)
        if expected is None or given is None:
            return 0.0
        return float(math.isclose(expected, given, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-9))

    def figures(self, references: Sequence[str], answers: Sequence[str]) -> list[Figure]:
        """Answers with no number in them, and those that are right to the last digit."""
        none = sum(number_in(answer) is None for answer in answers)
        exact = sum(number_in(r) == number_in(a) for r, a in zip(references, answers, strict=True))
        return [
            Figure("exactly the number", exact / len(answers)),
            Figure("answers without a number", none / len(answers), higher_is_better=False),
        ]


class ToolCalls:
    """1 for the right calls: names and arguments, in their order, whatever text is beside them.

    Where the right answer is a text, it is right to call nothing.
    """

    name = "tool calls right"
    kind = "tool_calls"
    binary = True
    passes = 1.0

    def score(self, reference: str, answer: str) -> float:
        """Whether the calls are the same."""
        return float(_calls(reference) == _calls(answer))

    def figures(self, references: Sequence[str], answers: Sequence[str]) -> list[Figure]:
        """How often the right tools were called, whatever the arguments."""
        names = sum(
            [n for n, _ in _calls(r) or []] == [n for n, _ in _calls(a) or []]
            for r, a in zip(references, answers, strict=True)
        )
        return [Figure("right tools called", names / len(answers))]


def _calls(text: str) -> list[tuple[str, Any]] | None:
    try:
        return [(call["name"], call["arguments"]) for call in json.loads(text)["tool_calls"]]
    except (ValueError, KeyError, TypeError):
        return None


def calls_as_text(calls: Sequence[dict[str, Any]]) -> str:
    """OpenAI's tool calls as the text that `ToolCalls` compares; ids are left out."""
    plain = []
    for call in calls:
        function = call["function"]
        try:
            arguments = json.loads(function["arguments"])
        except (ValueError, TypeError):
            arguments = function["arguments"]
        plain.append({"name": function["name"], "arguments": arguments})
    return json.dumps({"tool_calls": plain}, ensure_ascii=False, sort_keys=True)


def is_tool_calls(text: str) -> bool:
    """Whether a text was made by `calls_as_text`."""
    return text.startswith('{"tool_calls": [') and _calls(text) is not None
