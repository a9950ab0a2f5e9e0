"""What is documented of inference bodies. They are passed on, so vLLM's own reference is theirs."""

from __future__ import annotations

from typing import Any

_MODEL = {
    "type": "string",
    "description": "A base, one of your tuned models (`ft:...`), or one of your aliases.",
}
_COMMON: dict[str, Any] = {
    "stream": {"type": "boolean", "default": False},
    "stream_options": {
        "type": "object",
        "properties": {"include_usage": {"type": "boolean"}},
        "additionalProperties": True,
    },
    "max_tokens": {"type": "integer", "minimum": 1},
    "temperature": {"type": "number", "minimum": 0},
    "top_p": {"type": "number"},
    "n": {"type": "integer", "minimum": 1, "maximum": 128},
    "seed": {"type": "integer"},
    "stop": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}
_USAGE = {
    "type": "object",
    "properties": {
        "prompt_tokens": {"type": "integer"},
        "completion_tokens": {"type": "integer"},
        "total_tokens": {"type": "integer"},
    },
    "additionalProperties": True,
}


_HEADERS = {
    "x-tunesmith-model": {
        "description": "The model that answered: a base or a tuned model.",
        "schema": {"type": "string"},
    },
    "x-tunesmith-alias": {
        "description": "The alias that was asked, where one was.",
        "schema": {"type": "string"},
    },
    "x-tunesmith-alias-revision": {
        "description": "The alias's revision by which the model was chosen.",
        "schema": {"type": "integer"},
    },
}


def _request(**own: Any) -> dict[str, Any]:
    required = ["model", *own]
    return {
        "type": "object",
        "description": "Every sampling parameter that vLLM takes is passed on.",
        "properties": {"model": _MODEL, **own, **_COMMON},
        "required": required,
        "additionalProperties": True,
    }


def _answer(kind: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "object": {"type": "string", "const": kind},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "choices": {"type": "array", "items": {"type": "object"}},
            "usage": _USAGE,
        },
        "required": ["id", "object", "created", "model", "choices"],
        "additionalProperties": True,
    }


_PASSED_ON = "The body is passed on to the base's engine; vLLM's reference has all of its fields."


def _route(
    operation: str,
    summary: str,
    request: dict[str, Any],
    answer: dict[str, Any],
    *,
    streams: bool = False,
) -> dict[str, Any]:
    content = {"application/json": {"schema": answer}}
    if streams:
        content["text/event-stream"] = {
            "schema": {
                "description": "Events whose `data` is a JSON object; or `[DONE]`, the last."
            }
        }
    return {
        "post": {
            "tags": ["inference"],
            "summary": summary.partition(";")[0].rstrip(".") + ".",
            "description": f"{summary} {_PASSED_ON}",
            "operationId": operation,
            "security": [{"HTTPBearer": []}],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": request}},
            },
            "responses": {
                "200": {
                    "description": "The answer, or with `stream` its chunks as server-sent events."
                    if streams
                    else "The answer.",
                    "headers": _HEADERS,
                    "content": content,
                }
            },
        }
    }


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": True,
    }


_TEXT = {"type": "string"}
_NUMBERS = {"type": "array", "items": {"type": "integer"}}
_MESSAGES = {"type": "array", "items": _object(("role",), role=_TEXT)}
_PROMPT = {"anyOf": [_TEXT, {"type": "array", "items": {}, "description": "Texts, or token ids."}]}
_INPUT = {"anyOf": [_TEXT, {"type": "array", "items": {}}]}

ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": _route(
        "create_chat_completion",
        "Answer a conversation.",
        _request(messages=_MESSAGES),
        _answer("chat.completion"),
        streams=True,
    ),
    "/v1/completions": _route(
        "create_completion",
        "Continue a text.",
        _request(prompt=_PROMPT),
        _answer("text_completion"),
        streams=True,
    ),
    "/v1/responses": _route(
        "create_response",
        "Answer an input; nothing is kept, so each request has the whole conversation.",
        _object(
            ("model", "input"),
            model=_MODEL,
            input=_INPUT,
            instructions=_TEXT,
            stream={"type": "boolean", "default": False},
            max_output_tokens={"type": "integer", "minimum": 1},
        ),
        _object(
            ("id", "object", "model", "output"),
            id=_TEXT,
            object={"type": "string", "const": "response"},
            model=_TEXT,
            output={"type": "array", "items": {"type": "object"}},
        ),
        streams=True,
    ),
    "/v1/embeddings": _route(
        "create_embedding",
        "Turn texts into vectors, where the base's engine serves that.",
        _object(("model", "input"), model=_MODEL, input=_INPUT),
        _object(
            ("object", "data", "model"),
            object={"type": "string", "const": "list"},
            data={"type": "array", "items": {"type": "object"}},
            model=_TEXT,
            usage=_USAGE,
        ),
    ),
    "/tokenize": _route(
        "tokenize",
        "Split a prompt, or a conversation in the base's template, into tokens.",
        _object(("model",), model=_MODEL, prompt=_TEXT, messages=_MESSAGES),
        _object(
            ("count", "tokens"),
            count={"type": "integer"},
            max_model_len={"type": "integer"},
            tokens=_NUMBERS,
        ),
    ),
    "/detokenize": _route(
        "detokenize",
        "Join tokens to a text.",
        _object(("model", "tokens"), model=_MODEL, tokens=_NUMBERS),
        _object(("prompt",), prompt=_TEXT),
    ),
}
"""OpenAPI's path items of what `InferencePaths` answers, which FastAPI does not see."""


def documented(openapi: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document with the routes of inference added.

    Args:
        errors: the responses that every route may have.
    """
    for path, item in ROUTES.items():
        responses = errors | item["post"]["responses"]
        openapi["paths"][path] = {"post": item["post"] | {"responses": responses}}
    return openapi
