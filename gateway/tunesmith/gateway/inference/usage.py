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
