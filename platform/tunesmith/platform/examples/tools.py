"""Tools and calls of tools in OpenAI's schema; the deprecated `functions` become tools."""

from __future__ import annotations

import json
from typing import Any

from .errors import Refusal
from .text import check_text


def normalise_tools(tools: object, functions: object) -> list[dict[str, Any]] | None:
    """`tools`, or the deprecated `functions` as tools; None where there are none."""
    if tools and functions:
        raise Refusal("there are both `tools` and `functions`. Keep `tools`.")
    if functions:
        if not isinstance(functions, list):
            raise Refusal("`functions` must be a list of functions.")
        tools = [{"type": "function", "function": function} for function in functions]
    if tools is None or tools == [] or functions == []:
        return None
    if not isinstance(tools, list):
        raise Refusal("`tools` must be a list of tools.")
    for index, tool in enumerate(tools):
        where = f"tool {index + 1}"
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise Refusal(
                f'{where} must be {{"type": "function", "function": {{...}}}}; no other type of'
                " tool can be learned."
            )
        function = tool.get("function")
        if not isinstance(function, dict) or not _is_name(function.get("name")):
            raise Refusal(f"{where} has no `function` with a `name`.")
        if not isinstance(function.get("parameters", {}), dict):
            raise Refusal(f"`parameters` of {where} must be a JSON schema object.")
    check_text(tools)
    return tools


def normalise_tool_calls(calls: object, where: str) -> list[dict[str, Any]]:
    """The calls of one message: `{id, type, function: {name, arguments}}`, arguments a string."""
    if not isinstance(calls, list):
        raise Refusal(f"`tool_calls` of {where} must be a list.")
    normal: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        what = f"tool call {index + 1} of {where}"
        if not isinstance(call, dict):
            raise Refusal(f"{what} must be an object with `id`, `type` and `function`.")
        if call.get("type", "function") != "function":
            raise Refusal(f'{what} must have the type "function"; no other can be learned.')
        if not _is_name(call.get("id")):
            raise Refusal(f"{what} has no `id`. Give it one; the tool's message answers to it.")
        if any(call["id"] == earlier["id"] for earlier in normal):
            raise Refusal(f"{what} has the `id` of another call. Give each call its own.")
        normal.append(_call(call["id"], call.get("function"), what))
    return normal


def normalise_function_call(call: object, call_id: str, where: str) -> dict[str, Any]:
    """A deprecated `function_call` as a tool call with the id `call_id`."""
    return _call(call_id, call, f"`function_call` of {where}")


def _call(call_id: str, function: object, what: str) -> dict[str, Any]:
    if not isinstance(function, dict) or not _is_name(function.get("name")):
        raise Refusal(f"{what} does not name its function.")
    return {
        "id": call_id,
        "type": "function",
        "function": {
            "name": function["name"],
            "arguments": _arguments(function.get("arguments"), what),
        },
    }


def _arguments(arguments: object, what: str) -> str:
    """A JSON object as a string: chat templates render the object, so it has to parse."""
    if isinstance(arguments, dict):
        check_text(arguments)
        return json.dumps(arguments, ensure_ascii=False)
    if arguments is None or arguments == "":
        return "{}"
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else None
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise Refusal(f"`arguments` of {what} must be a JSON object written as a string.")
    check_text(parsed)
    return str(arguments)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)
