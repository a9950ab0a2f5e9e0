"""What an engine reports of the tokens that it worked on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# It cannot stand inside a JSON string, where its quotes would be escaped.
_USAGE = re.compile(rb'"usage":\s?\{')
_DECODER = json.JSONDecoder()
_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of prompts, those of them that came from the engine's cache, and of answers."""

    prompt: int
    completion: int
    cached: int = 0

    @property
    def total(self) -> int:
        """Tokens that the engine worked on."""
        return self.prompt + self.completion


def usage_in_response(text: bytes) -> Usage | None:
    """The usage of a response, or of the last event in a part of a stream that reports one.

    A response repeats the tools that were asked for, whose schemas may have a `usage` of the
    client's making; so it is parsed, and only its own counts.
    """
    if not text.startswith((b"event:", b"data:", b":")):
        return _of_response(text)
    for line in reversed(text.splitlines()):
        if line.startswith(b"data:") and b'"usage"' in line:
            usage = _of_response(line[5:])
            if usage is not None:
                return usage
    return None


def _of_response(text: bytes) -> Usage | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(value, dict) and isinstance(value.get("response"), dict):
        value = value["response"]
    usage = value.get("usage") if isinstance(value, dict) else None
    return _read(usage) if isinstance(usage, dict) else None


def usage_in(text: bytes) -> Usage | None:
    """The last usage that a (part of an) answer reports, if it does."""
    start = text.rfind(b'"usage":')
    while start >= 0:
        found = _USAGE.match(text, start)
        if found is not None:
            end = found.end() - 1
            try:
                value, _ = _DECODER.raw_decode(text[end : end + _LONGEST].decode(errors="replace"))
            except ValueError:
                return None
            return _read(value)
        start = text.rfind(b'"usage":', 0, start)  # null in all events but the last
    return None


def _read(value: dict[str, Any]) -> Usage:
    details = value.get("prompt_tokens_details") or value.get("input_tokens_details") or {}
    return Usage(
        _count(value.get("prompt_tokens", value.get("input_tokens"))),
        _count(value.get("completion_tokens", value.get("output_tokens"))),
        _count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
