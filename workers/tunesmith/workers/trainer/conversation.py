"""What an engine makes of an OpenAI chat request before its chat template sees it.

Training must render exactly what serving renders. vLLM (0.32, `renderers/chat_utils.py` and
`entrypoints/openai/chat_completion/protocol.py`) rewrites a request first: it joins content parts,
parses tool arguments, re-serialises tools. The same is done here; run engines with
`--chat-template-content-format string`, since the other format wraps plain text in part lists.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ConversationInvalid

Message = dict[str, Any]

_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def served_messages(messages: Sequence[Mapping[str, Any]], chat_template: str) -> list[Message]:
    """The messages as the chat template receives them at serve time.

    Args:
        messages: OpenAI chat messages; `weight` and other training-only keys are dropped.
        chat_template: decides whether `developer` is a role of its own.

    Raises:
        ConversationInvalid: an unknown role, content that isn't text, a malformed tool call.
    """
    served = [_served_message(message) for message in messages]
    speaks_developer = '"developer"' in chat_template or "'developer'" in chat_template
    if any(message["role"] == "developer" for message in served) and not speaks_developer:
        for message in served:
            if message["role"] == "developer":
                message["role"] = "system"
        return _one_system_message(served)
    return served


def served_tools(tools: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Tool definitions as the chat template receives them: vLLM's own field order and nulls.

    Raises:
        ConversationInvalid: a tool that isn't a named function.
    """
    if not tools:
        return None
    return [_served_tool(tool) for tool in tools]


def _served_message(message: Mapping[str, Any]) -> Message:
    role = message.get("role")
    if role not in _ROLES:
        raise ConversationInvalid(f"unknown role {role!r}")
    served: Message = {"role": role, "content": _text(message.get("content"))}
    if role == "assistant":
        calls = message.get("tool_calls")
        if calls:
            served["tool_calls"] = [_served_call(call) for call in calls]
        reasoning = message.get("reasoning", message.get("reasoning_content"))
        if reasoning is not None:
            served["reasoning"] = served["reasoning_content"] = reasoning
    if role == "tool" and "tool_call_id" in message:
        served["tool_call_id"] = message["tool_call_id"]
    if isinstance(message.get("name"), str):
        served["name"] = message["name"]
    return served


def _text(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ConversationInvalid("content must be a string or a list of text parts")
    return "\n".join(_part_text(part) for part in content)


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
        text = part.get(_TEXT_PARTS[part["type"]])
        if isinstance(text, str):
            return text
    raise ConversationInvalid("content parts must be text")


def _served_call(call: object) -> dict[str, Any]:
    if not isinstance(call, dict) or call.get("type", "function") != "function":
        raise ConversationInvalid("a tool call must be of type 'function'")
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ConversationInvalid("a tool call must name its function")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise ConversationInvalid(
                f"arguments of the call to {function['name']!r} are not JSON: {error}"
            ) from error
    if not isinstance(arguments, dict):
        raise ConversationInvalid(
            f"arguments of the call to {function['name']!r} are not a JSON object"
        )
    # In this order and with nothing else: a template may print the whole call.
    served: dict[str, Any] = {"id": call["id"]} if "id" in call else {}
    served["function"] = {"arguments": arguments, "name": function["name"]}
    served["type"] = "function"
    return served


def _served_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        raise ConversationInvalid("a tool must be of type 'function'")
    if not isinstance(function.get("name"), str):
        raise ConversationInvalid("a tool's function must have a name")
    served: dict[str, Any] = {
        "name": function["name"],
        "description": function.get("description"),
        "parameters": function.get("parameters"),
    }
    if function.get("strict") is not None:
        served["strict"] = function["strict"]
    return {"type": "function", "function": served}


def _one_system_message(messages: list[Message]) -> list[Message]:
    """Merge system messages into the first place when one stands elsewhere."""
    places = [place for place, message in enumerate(messages) if message["role"] == "system"]
    if places == [0]:
        return messages
    texts = [messages[place]["content"] for place in places if messages[place]["content"]]
    others = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(texts)}, *others]
