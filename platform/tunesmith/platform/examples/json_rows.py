"""JSONL: one example a line, a chat, a pair or a preference."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from .errors import Problem, Refusal
from .example import Example, ExamplesKind
from .lines import Line
from .messages import boolean, kind_of, normalise_messages, shown
from .pairs import accepted_pairs, find_pair, pair_messages
from .preferences import is_preference, read_preference
from .text import check_text
from .tools import normalise_tools

_KINDS = {ExamplesKind.CHAT: "a chat", ExamplesKind.PREFERENCES: "a preference"}


def read_json_rows(lines: Iterable[Line]) -> Iterator[Example | Problem]:
    """An example, or what is wrong, for each line that is not blank.

    Of the lines whose kind is not that of the first one, the first is a problem.
    """
    return read_objects(_objects(lines))


class ObjectRow(NamedTuple):
    """A row as a JSON object, or what keeps it from being one.

    `escaped` where its texts may hold what UTF-8 itself excludes, and have to be looked at.
    """

    number: int
    value: dict[str, Any] | Refusal
    escaped: bool = True


def _objects(lines: Iterable[Line]) -> Iterator[ObjectRow]:
    for number, line in lines:
        if not line.strip():
            continue
        text = line.removeprefix("\ufeff")  # amid the file it comes from `cat`
        try:
            yield ObjectRow(number, _object(text), escaped="\\u" in text)
        except Refusal as refusal:
            yield ObjectRow(number, refusal)


def read_objects(rows: Iterable[ObjectRow]) -> Iterator[Example | Problem]:
    """As `read_json_rows`, of rows that are objects already."""
    kind: ExamplesKind | None = None
    start = 0  # line of the example that decided the kind
    mixed = False
    for number, row, escaped in rows:
        try:
            if isinstance(row, Refusal):
                raise row
            found = _kind(row)
            if kind is None:
                kind, start = found, number
            if found is None or found is kind:
                yield _read_row(number, row, escaped=escaped)
            elif kind is not None and not mixed:
                mixed = True
                raise Refusal(
                    f"this is {_KINDS[found]}, and the example in line {start} is {_KINDS[kind]}."
                    " A file holds one kind: put the others into a file of their own."
                )
        except Refusal as refusal:
            yield Problem(number, str(refusal))


def is_chat_row(text: str) -> bool:
    """Whether a line's text is a chat rather than a pair."""
    try:
        row = parse_json(text)
        return not isinstance(row, dict) or "messages" in row or find_pair(list(row)) is None
    except Refusal:  # said when the row is read
        return True


def parse_json(text: str) -> Any:
    """A line's JSON value, strictly: no NaN, no infinity, no key twice.

    Raises:
        Refusal: with the column where it breaks.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise Refusal(
            f"broken JSON at column {error.colno}: {what}. Each line must be one whole JSON object."
        ) from error
    except RecursionError as error:
        raise Refusal("lists and objects are nested too deeply.") from error
    except ValueError as error:
        raise Refusal("a number has thousands of digits.") from error


def _object(text: str) -> dict[str, Any]:
    row = parse_json(text)
    if not isinstance(row, dict):
        raise Refusal(f"each line must be a JSON object, and this one is {kind_of(row)}.")
    return row


def _kind(row: dict[str, Any]) -> ExamplesKind | None:
    """What a row means to be; None where it cannot be told."""
    if is_preference(row):
        return ExamplesKind.PREFERENCES
    return ExamplesKind.CHAT if "messages" in row or find_pair(list(row)) else None


def _read_row(number: int, row: dict[str, Any], *, escaped: bool) -> Example:
    if is_preference(row):
        example = read_preference(number, row)
    elif "messages" in row:
        example = Example(
            number,
            normalise_messages(row["messages"]),
            normalise_tools(row.get("tools"), row.get("functions")),
            boolean(row.get("parallel_tool_calls"), "`parallel_tool_calls`"),
        )
    else:
        example = _read_pair(number, row)
    if escaped:  # only an escape can bring in what UTF-8 itself excludes
        check_text([example.messages, example.preferred, example.rejected])
    return example


def _read_pair(number: int, row: dict[str, Any]) -> Example:
    pair = find_pair(list(row))
    if pair is None:
        found = ", ".join(shown(name) for name in list(row)[:8]) or "none"
        raise Refusal(
            f"there are no `messages`, and no {accepted_pairs()} either; the fields are: {found}."
        )
    names, values = list(row), list(row.values())
    return Example(
        number,
        pair_messages(
            values[pair.prompt],
            values[pair.completion],
            None if pair.system is None else values[pair.system],
            (names[pair.prompt], names[pair.completion]),
        ),
    )


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Refusal(f"the key {shown(key)} occurs twice in one object. Keep one.")
            seen.add(key)
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise Refusal(f"{name} is not JSON. Use a number or null.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refusal(f"the number {shown(text)} is too large.")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite
)
