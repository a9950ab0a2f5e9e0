"""Preferences: an input and two answers to it, of which one is better."""

from __future__ import annotations

import json
from typing import Any

from .errors import Refusal
from .example import Example
from .messages import boolean, kind_of, normalise_answer, normalise_input
from .pairs import CHOICE, Choice, find_choice, prompt_messages, spoken
from .tools import normalise_tools

_OPENAI = ("preferred_output", "non_preferred_output")
_NORMAL = ("messages", "preferred", "rejected")


def is_preference(row: dict[str, Any]) -> bool:
    """Whether a row of JSON is a preference, right or wrong."""
    if any(name in row for name in _OPENAI) or all(name in row for name in _NORMAL):
        return True
    if "messages" in row:
        return False
    try:
        return find_choice(list(row)) is not None
    except Refusal:  # a column twice: said when it is read
        return True


def read_preference(line: int, row: dict[str, Any]) -> Example:
    """The preference of a JSON row: OpenAI's form, prompt/chosen/rejected, or normal form.

    Raises:
        Refusal: it breaks the schema, or both answers are the same.
    """
    if any(name in row for name in _OPENAI):
        return _read_openai(line, row)
    if all(name in row for name in _NORMAL):
        context = normalise_input(row["messages"], "messages")
        answers = (row["preferred"], row["rejected"])
        return _preference(line, context, answers, ("preferred", "rejected"), row)
    names, values = list(row), list(row.values())
    choice = find_choice(names)
    if choice is None:
        raise Refusal(f"there are no {'/'.join(CHOICE)}.")
    prompt, named = values[choice.prompt], names[choice.prompt]
    system = None if choice.system is None else values[choice.system]
    if isinstance(prompt, list):
        if system:
            raise Refusal("there are messages and a `system` beside them. Put it among them.")
        context = normalise_input(prompt, named)
    else:
        context = prompt_messages(prompt, system, named)
    answers = (values[choice.chosen], values[choice.rejected])
    return _preference(line, context, answers, (names[choice.chosen], names[choice.rejected]), row)


def read_cells(line: int, cells: list[str], choice: Choice, names: list[str]) -> Example:
    """The preference of a table's row.

    Raises:
        Refusal: a cell is empty, or both answers are the same.
    """
    system = None if choice.system is None else cells[choice.system]
    context = prompt_messages(cells[choice.prompt], system, names[choice.prompt])
    answers = (cells[choice.chosen], cells[choice.rejected])
    return _preference(line, context, answers, (names[choice.chosen], names[choice.rejected]), {})


def _read_openai(line: int, row: dict[str, Any]) -> Example:
    given = row.get("input")
    if not isinstance(given, dict):
        found = kind_of(given) if "input" in row else "missing"
        raise Refusal(f"`input` must be an object with `messages`, and it is {found}.")
    for name in ("messages", "tools", "functions", "parallel_tool_calls"):
        if row.get(name) is not None:
            raise Refusal(f"`{name}` stands beside `input`. Put it inside `input`.")
    if "messages" not in given:
        raise Refusal("`input` has no `messages`. Give it the messages that are answered.")
    context = normalise_input(given["messages"], "input.messages")
    answers = (row.get(_OPENAI[0]), row.get(_OPENAI[1]))
    return _preference(line, context, answers, _OPENAI, given)


def _preference(
    line: int,
    context: list[dict[str, Any]],
    answers: tuple[object, object],
    names: tuple[str, str],
    options: dict[str, Any],
) -> Example:
    preferred, rejected = (
        [spoken("assistant", answer, name)]
        if isinstance(answer, str)
        else normalise_answer(answer, name, len(context))
        for answer, name in zip(answers, names, strict=True)
    )
    if _essence(preferred) == _essence(rejected):
        raise Refusal(
            f"`{names[0]}` and `{names[1]}` are the same answer, so there is nothing to prefer."
            " Correct one of them, or remove the example."
        )
    return Example(
        line,
        context,
        normalise_tools(options.get("tools"), options.get("functions")),
        boolean(options.get("parallel_tool_calls"), "`parallel_tool_calls`"),
        preferred,
        rejected,
    )


def _essence(answer: list[dict[str, Any]]) -> list[Any]:
    """What a template renders of an answer: not its calls' ids, nor how arguments are spaced."""
    return [
        (
            message["content"],
            message.get("name"),
            [
                (call["function"]["name"], json.loads(call["function"]["arguments"]))
                for call in message.get("tool_calls", ())
            ],
        )
        for message in answer
    ]
