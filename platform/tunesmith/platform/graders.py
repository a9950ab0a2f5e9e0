"""Graders that a job or an evaluation names, in OpenAI's form, checked before anything is queued.

https://platform.openai.com/docs/guides/graders
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.platform.domain.errors import InvalidRequest

STRING_OPERATIONS = ("eq", "ne", "like", "ilike")
SIMILARITIES = (
    "fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
)  # fmt: skip
_NOT_HERE = {
    "cosine": "it needs an embedding model",
    "meteor": "it needs a thesaurus that is not installed",
}
VARIABLES = ("item.input", "item.reference", "sample.output_text")
"""What `{{ }}` may name in a template."""

_ANSWER = "{{sample.output_text}}"
_REFERENCE = "{{item.reference}}"
_VARIABLE = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_LONGEST = 20_000


@dataclass(frozen=True)
class StringCheck:
    """1 where `input` and `reference` are related as `operation` says, else 0."""

    name: str
    operation: str
    input: str
    reference: str


@dataclass(frozen=True)
class TextSimilarity:
    """How alike `input` and `reference` are, 0 to 1; from `pass_threshold` on it has passed."""

    name: str
    metric: str
    input: str
    reference: str
    pass_threshold: float


@dataclass(frozen=True)
class ScoreModel:
    """A judge. With `input` it scores each answer in `range`; without, it compares the two."""

    name: str
    model: str
    input: tuple[tuple[str, str], ...]
    range: tuple[float, float]
    pass_threshold: float
    sampling_params: dict[str, Any]

    @property
    def compares(self) -> bool:
        """Whether it is shown both answers at once."""
        return not self.input


Grader = StringCheck | TextSimilarity | ScoreModel


def check_grader(grader: Mapping[str, Any], param: str) -> Grader:
    """A grader, checked.

    Raises:
        InvalidRequest: naming the field that is wrong.
    """
    return _Reader(grader, param).read()


def filled(template: str, variables: Mapping[str, str]) -> str:
    """A template with its variables replaced, once: what comes from data is not looked through."""
    return _VARIABLE.sub(lambda found: variables[found[1]], template)


class _Reader:
    def __init__(self, grader: Mapping[str, Any], param: str) -> None:
        self._grader = grader
        self._param = param
        self._known = {"type", "name"}

    def read(self) -> Grader:
        kind = self._grader.get("type")
        name = self._text("name", default=str(kind), longest=128)
        readers: dict[str, Callable[[str], Grader]] = {
            "string_check": self._string_check,
            "text_similarity": self._text_similarity,
            "score_model": self._score_model,
        }
        read = readers.get(str(kind))
        if read is None:
            raise self._wrong(
                "type",
                "must be string_check, text_similarity or score_model",
                code="unsupported_grader",
            )
        made = read(name)
        unknown = sorted(set(self._grader) - self._known)
        if unknown:
            raise self._wrong(unknown[0][:80], f"is not a field of {kind}")
        return made

    def _string_check(self, name: str) -> StringCheck:
        return StringCheck(
            name,
            self._one_of("operation", STRING_OPERATIONS),
            self._template("input", _ANSWER),
            self._template("reference", _REFERENCE),
        )

    def _text_similarity(self, name: str) -> TextSimilarity:
        metric = str(self._grader.get("evaluation_metric"))
        if metric in _NOT_HERE:
            raise self._wrong(
                "evaluation_metric", f"{metric} is not available here: {_NOT_HERE[metric]}"
            )
        return TextSimilarity(
            name,
            self._one_of("evaluation_metric", SIMILARITIES),
            self._template("input", _ANSWER),
            self._template("reference", _REFERENCE),
            self._number("pass_threshold", 0.5, 0.0, 1.0),
        )

    def _score_model(self, name: str) -> ScoreModel:
        low, high = self._range()
        return ScoreModel(
            name,
            self._text("model", longest=256),
            self._messages(),
            (low, high),
            self._number("pass_threshold", (low + high) / 2, low, high),
            self._sampling(),
        )

    def _range(self) -> tuple[float, float]:
        self._known.add("range")
        given = self._grader.get("range", [0, 1])
        good = (
            isinstance(given, list)
            and len(given) == 2
            and all(_is_number(value) for value in given)
            and -1e6 <= given[0] < given[1] <= 1e6
        )
        if not good:
            raise self._wrong("range", "must be two numbers, the lower first")
        return float(given[0]), float(given[1])

    def _messages(self) -> tuple[tuple[str, str], ...]:
        self._known.add("input")
        given = self._grader.get("input", [])
        if not isinstance(given, list) or len(given) > 20:
            raise self._wrong("input", "must be a list of at most 20 messages")
        messages = []
        for place, message in enumerate(given):
            where = f"input.{place}"
            if not isinstance(message, dict) or message.get("role") not in (
                "system", "developer", "user", "assistant",
            ):  # fmt: skip
                raise self._wrong(where, "must be a message with a role and a content")
            content = _text_of(message.get("content"))
            if content is None or len(content) > _LONGEST:
                raise self._wrong(
                    f"{where}.content", f"must be a text of at most {_LONGEST} characters"
                )
            self._check_variables(content, f"{where}.content")
            messages.append((str(message["role"]).replace("developer", "system"), content))
        if messages and not any("sample.output_text" in content for _, content in messages):
            raise self._wrong("input", "must show the answer: {{sample.output_text}}")
        return tuple(messages)

    def _sampling(self) -> dict[str, Any]:
        self._known.add("sampling_params")
        given = self._grader.get("sampling_params") or {}
        if not isinstance(given, dict) or any(key not in _SAMPLING for key in given):
            raise self._wrong("sampling_params", f"may have {', '.join(_SAMPLING)}")
        chosen = {key: value for key, value in given.items() if value is not None}
        for key, value in chosen.items():
            what, fits = _SAMPLING[key]
            if not fits(value):
                raise self._wrong(f"sampling_params.{key}", f"must be {what}")
        return chosen

    def _template(self, field: str, default: str) -> str:
        text = self._text(field, default=default, longest=_LONGEST)
        self._check_variables(text, field)
        return text

    def _check_variables(self, text: str, field: str) -> None:
        for name in _VARIABLE.findall(text):
            if name not in VARIABLES:
                raise self._wrong(
                    field, f"names {{{{{name[:80]}}}}}; there are {', '.join(VARIABLES)}"
                )

    def _one_of(self, field: str, allowed: tuple[str, ...]) -> str:
        self._known.add(field)
        value = self._grader.get(field)
        if value not in allowed:
            raise self._wrong(field, f"must be one of {', '.join(allowed)}")
        return str(value)

    def _text(self, field: str, *, default: str | None = None, longest: int) -> str:
        self._known.add(field)
        value = self._grader.get(field, default)
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise self._wrong(field, f"must be a text of 1 to {longest} characters")
        return value

    def _number(self, field: str, default: float, least: float, most: float) -> float:
        self._known.add(field)
        value = self._grader.get(field, default)
        if not _is_number(value) or not least <= value <= most:
            raise self._wrong(field, f"must be a number from {least:g} to {most:g}")
        return float(value)

    def _wrong(self, field: str, what: str, code: str = "invalid_grader") -> InvalidRequest:
        where = f"{self._param}.{field}"
        return InvalidRequest(f"`{where}` {what}.", param=where, code=code)


def _text_of(content: object) -> str | None:
    """A content's text: a string, a block with a text, or a list of them; None for any other."""
    if isinstance(content, list):
        texts = [_text_of(part) for part in content if not isinstance(part, list)]
        return None if None in texts or not texts else "\n".join(map(str, texts))
    if isinstance(content, dict) and content.get("type") in ("input_text", "output_text", "text"):
        content = content.get("text")
    return content if isinstance(content, str) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_SAMPLING: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "temperature": ("a number from 0 to 2", lambda value: _is_number(value) and 0 <= value <= 2),
    "top_p": (
        "a number above 0, at most 1",
        lambda value: _is_number(value) and 0 < value <= 1,
    ),
    "seed": ("a whole number", lambda value: _is_whole(value) and abs(value) < 2**63),
    "max_completions_tokens": (
        "a whole number from 1 to 65536",
        lambda value: _is_whole(value) and 1 <= value <= 65_536,
    ),
    "reasoning_effort": (
        "a word such as low, medium or high",
        lambda value: isinstance(value, str) and 1 <= len(value) <= 32,
    ),
}
