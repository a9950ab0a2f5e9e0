"""The messages of one chat example: checked against OpenAI's schema and put into normal form."""

from __future__ import annotations

from typing import Any

from .errors import Refusal
from .tools import normalise_function_call, normalise_tool_calls

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""Roles that a message may have. `function` is the deprecated form of `tool`, and becomes it."""

_FIELDS = frozenset(
    {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal"}
)


def normalise_messages(messages: object) -> list[dict[str, Any]]:
    """`messages` in normal form (see `Example`).

    Raises:
        Refusal: they break the schema, or leave nothing to learn.
    """
    if messages == []:
        raise Refusal("`messages` is empty. An example needs at least one assistant message.")
    normal = _normalise(messages, "messages")
    _check_something_to_learn(normal)
    return normal


def normalise_input(messages: object, field: str) -> list[dict[str, Any]]:
    """What a preference's two answers answer, in normal form and without weights.

    Raises:
        Refusal: the messages break the schema, or nothing in them is to be answered.
    """
    if messages == []:
        raise Refusal(f"`{field}` is empty. Give it the messages that are answered.")
    normal = _normalise(messages, field)
    if normal[-1]["role"] not in {"user", "tool"}:
        raise Refusal(
            f"`{field}` ends with a message of the role {normal[-1]['role']}. It must end with the"
            " user's or tool's message that both answers answer."
        )
    for message in normal:
        message.pop("weight", None)
    return normal


def normalise_answer(messages: object, field: str, after: int) -> list[dict[str, Any]]:
    """One of a preference's two answers, in normal form: a list of one assistant message.

    Args:
        field: its name in the row.
        after: number of messages before it.

    Raises:
        Refusal: it is something else, or says nothing.
    """
    if not isinstance(messages, list) or len(messages) != 1:
        found = f"{len(messages)} messages" if isinstance(messages, list) else kind_of(messages)
        raise Refusal(f"`{field}` must be a list of one assistant message, and it is {found}.")
    normal = _normalise(messages, field, after)
    (answer,) = normal
    if answer["role"] != "assistant":
        raise Refusal(f"`{field}` must be an assistant message; its role is {answer['role']}.")
    if answer.pop("weight", 1) == 0:
        raise Refusal(f"the message of `{field}` has weight 0. Remove the weight.")
    if _is_silent(answer):
        raise Refusal(f"the message of `{field}` has no text. Write the answer.")
    return normal


def _normalise(messages: object, field: str, after: int = 0) -> list[dict[str, Any]]:
    if not isinstance(messages, list):
        raise Refusal(f"`{field}` must be a list, and it is {kind_of(messages)}.")
    of = "" if field == "messages" else f" of `{field}`"
    calls: set[str] = set()  # ids of the tool calls made so far
    pending: dict[str, Any] | None = None  # the deprecated function call to be answered
    normal: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"message {index + 1}{of}"
        if not isinstance(message, dict):
            raise Refusal(f"{where} must be an object, and it is {kind_of(message)}.")
        role = _role(message, where)
        _check_fields(message, role, where)
        result: dict[str, Any] = {"role": role, "content": _content(message, role, where)}
        if message.get("name") is not None:
            result["name"] = string(message["name"], f"`name` of {where}")
        if role == "assistant":
            if message.get("tool_calls"):
                result["tool_calls"] = normalise_tool_calls(message["tool_calls"], where)
                calls.update(call["id"] for call in result["tool_calls"])
            elif message.get("function_call"):
                call = normalise_function_call(
                    message["function_call"], f"call_{after + index}", where
                )
                result["tool_calls"] = [call]
                calls.add(call["id"])
                pending = call
            if message.get("weight") is not None:
                result["weight"] = _weight(message["weight"], where)
        elif role == "tool":
            result["tool_call_id"] = _answered_call(message, calls, where)
        elif role == "function":
            if pending is None or result.get("name") != pending["function"]["name"]:
                raise Refusal(
                    f"{where} has the role function, and its `name` is not that of the"
                    " `function_call` before it. Name the function that it answers."
                )
            result["role"] = "tool"
            result["tool_call_id"] = pending["id"]
        normal.append(result)
    return normal


def kind_of(value: object) -> str:
    """What a JSON value is, for a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def string(value: object, where: str) -> str:
    """`value` when it is a non-empty string."""
    if not isinstance(value, str) or not value:
        raise Refusal(
            f"{where} must be a non-empty string, and it is"
            f" {'empty' if value == '' else kind_of(value)}."
        )
    return value


def boolean(value: object, where: str) -> bool | None:
    """`value` when it is true, false or nothing."""
    if value is None or isinstance(value, bool):
        return value
    raise Refusal(f"{where} must be true or false, and it is {kind_of(value)}.")


def shown(value: object) -> str:
    """`value` short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _role(message: dict[str, Any], where: str) -> str:
    role = message.get("role")
    if role is None:
        raise Refusal(f"{where} has no `role`. Use one of {', '.join(ROLES)}.")
    if role not in ROLES:
        raise Refusal(f"{where} has the unknown role {shown(role)}. Use one of {', '.join(ROLES)}.")
    return str(role)


def _check_fields(message: dict[str, Any], role: str, where: str) -> None:
    # Fields without a value come from dumps of API answers (`"audio": null, "annotations": []`).
    unknown = [key for key, value in message.items() if key not in _FIELDS and value]
    if unknown:
        raise Refusal(
            f"{where} has the field {shown(unknown[0])}, which would not be learned. Remove it."
        )
    if role != "assistant":
        for field in ("weight", "tool_calls", "function_call"):
            if message.get(field) is not None:
                raise Refusal(
                    f"{where} has the role {role} and a `{field}`, which only an assistant message"
                    " can have. Remove it."
                )


def _content(message: dict[str, Any], role: str, where: str) -> str:
    content = message.get("content")
    if content is None:
        if role == "assistant":
            if message.get("tool_calls") or message.get("function_call"):
                return ""
            if isinstance(message.get("refusal"), str):
                return str(message["refusal"])
        raise Refusal(f"{where} ({role}) has no `content`. Give it a string.")
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise Refusal(
            f"`content` of {where} must be a string or a list of text parts, and it is"
            f" {'an empty list' if content == [] else kind_of(content)}."
        )
    # Joined by line feeds, as vLLM does with the parts of a request.
    return "\n".join(_part(part, role, where) for part in content)


def _part(part: object, role: str, where: str) -> str:
    if not isinstance(part, dict):
        raise Refusal(f"a content part of {where} must be an object, and it is {kind_of(part)}.")
    kind = part.get("type")
    field = "refusal" if kind == "refusal" and role == "assistant" else "text"
    if kind not in (field, "text"):
        raise Refusal(
            f"{where} has a content part of type {shown(kind)}. Only text can be learned: remove"
            " the part, or say in words what it shows."
        )
    if not isinstance(part.get(field), str):
        raise Refusal(f"a {kind} part of {where} has no `{field}` string.")
    return str(part[field])


def _weight(weight: object, where: str) -> int:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight not in (0, 1):
        raise Refusal(
            f"`weight` of {where} must be 0 (context only) or 1 (learned), and it is"
            f" {shown(weight)}."
        )
    return int(weight)


def _answered_call(message: dict[str, Any], calls: set[str], where: str) -> str:
    call = message.get("tool_call_id")
    if not isinstance(call, str) or not call:
        raise Refusal(
            f"{where} has the role tool and no `tool_call_id`. Name the id of the tool call that"
            " it answers."
        )
    if call not in calls:
        raise Refusal(
            f"{where} answers the tool call {shown(call)}, which no assistant message before it"
            " made. Correct its `tool_call_id`."
        )
    return call


def _check_something_to_learn(messages: list[dict[str, Any]]) -> None:
    answers = [m for m in messages if m["role"] == "assistant"]
    if not answers:
        raise Refusal(
            "there is no assistant message, so there is nothing to learn. Add the answer as a"
            " message with the role assistant."
        )
    learned = [m for m in answers if m.get("weight", 1)]
    if not learned:
        raise Refusal(
            "every assistant message has weight 0, so there is nothing to learn. Give at least"
            " one of them weight 1."
        )
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and message.get("weight", 1) and _is_silent(message):
            raise Refusal(
                f"message {index + 1} is an assistant message without text, so the model would"
                " learn to say nothing. Write the answer, or give it weight 0."
            )


def _is_silent(message: dict[str, Any]) -> bool:
    return not message.get("tool_calls") and not message["content"].strip()
