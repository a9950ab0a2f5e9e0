"""Answers in vLLM's shapes beside chats and completions, for the stand-in engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

USAGE = {"input_tokens": 7, "output_tokens": 4, "total_tokens": 11}
TEXT = "Hello world"


def embedding(body: dict[str, Any]) -> dict[str, Any]:
    """Of every text a vector of two numbers."""
    asked = body.get("input")
    texts = asked if isinstance(asked, list) else [asked]
    return {
        "id": "embd-1",
        "object": "list",
        "created": 1,
        "model": body["model"],
        "data": [
            {"index": index, "object": "embedding", "embedding": [0.5, float(index)]}
            for index in range(len(texts))
        ],
        "usage": {"prompt_tokens": 7, "total_tokens": 7, "completion_tokens": 0},
    }


def tokens(body: dict[str, Any]) -> dict[str, Any]:
    """A token for every character of the prompt."""
    found = [ord(letter) for letter in str(body.get("prompt") or "")]
    return {"count": len(found), "max_model_len": 512, "tokens": found, "token_strs": None}


def text_of_tokens(body: dict[str, Any]) -> dict[str, Any]:
    """The characters of tokens, where they are some."""
    asked = body.get("tokens")
    numbers = [n for n in asked if type(n) is int] if isinstance(asked, list) else []
    return {"prompt": "".join(chr(n) for n in numbers if 0 <= n < 0xD800)}


def response(body: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    """A response, as OpenAI's Responses API has it."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
    }
    done = status == "completed"
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "status": status,
        "output": [message] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "usage": USAGE if done else None,
    }


def response_events(body: dict[str, Any]) -> Iterator[bytes]:
    """The same as a stream."""
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    (item,) = response(body)["output"]
    (part,) = item["content"]
    begun = item | {"status": "in_progress", "content": []}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": response(body, "in_progress")}),
        ("response.output_item.added", {"output_index": 0, "item": begun}),
        ("response.content_part.added", at | {"part": part | {"text": ""}}),
        ("response.output_text.delta", at | {"delta": "Hello"}),
        ("response.output_text.delta", at | {"delta": " world"}),
        ("response.output_text.done", at | {"text": TEXT}),
        ("response.content_part.done", at | {"part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": response(body)}),
    ]
    for number, (kind, data) in enumerate(events):
        text = json.dumps({"type": kind, "sequence_number": number, **data})
        yield f"event: {kind}\ndata: {text}\n\n".encode()


def chat_message(body: dict[str, Any], text: str) -> dict[str, Any]:
    """The message of a chat: a call of its first tool, JSON by its schema, or else the text."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    form = body.get("response_format")
    tools = body.get("tools")
    function = tools[0].get("function") if isinstance(tools, list) and tools else None
    if isinstance(function, dict) and body.get("tool_choice") != "none":
        arguments = json.dumps(_sample(function.get("parameters") or {}))
        call = {"name": function["name"], "arguments": arguments}
        message["content"] = None
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
    elif isinstance(form, dict) and form.get("type") == "json_schema":
        message["content"] = json.dumps(_sample(form["json_schema"].get("schema") or {}))
    return message


def _sample(schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return {name: _sample(inner) for name, inner in schema.get("properties", {}).items()}
    return {"integer": 7, "number": 7.5, "boolean": True, "array": []}.get(str(kind), "text")
