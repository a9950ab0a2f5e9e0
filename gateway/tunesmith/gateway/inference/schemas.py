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
    "n": {"type": "integer", "minimum": 1},
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


def document(request: dict[str, Any], kind: str) -> dict[str, Any]:
    """The OpenAPI parts of a route that passes its body on."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request}},
        },
        "responses": {
            "200": {
                "description": "The answer, or with `stream` its chunks as server-sent events.",
                "headers": _HEADERS,
                "content": {
                    "application/json": {"schema": _answer(kind)},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            }
        },
    }


CHAT = document(
    _request(
        messages={
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"role": {"type": "string"}},
                "required": ["role"],
                "additionalProperties": True,
            },
        }
    ),
    "chat.completion",
)
COMPLETION = document(
    _request(
        prompt={
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {}, "description": "Texts, or token ids."},
            ]
        }
    ),
    "text_completion",
)
