"""A chat example in its one normal form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FileFormat(StrEnum):
    """What an examples file is, by its first row."""

    CHAT_JSONL = "jsonl chat"
    PAIR_JSONL = "jsonl pairs"
    PAIR_CSV = "csv pairs"


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn from.

    `line` is where it starts in the file that the user wrote, from 1. `messages` are OpenAI chat
    messages with these fields, in this order, and no others: `role`, `content` (always a string,
    empty beside tool calls), `name`, `tool_calls`, `tool_call_id`, `weight` (assistant only: 0 is
    context, 1 or absent is learned). `tools` is OpenAI's list of tools, or None.
    """

    line: int
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None

    def to_json(self) -> bytes:
        """The canonical JSONL line, newline included."""
        row: dict[str, Any] = {"line": self.line, "messages": self.messages}
        if self.tools is not None:
            row["tools"] = self.tools
        if self.parallel_tool_calls is not None:
            row["parallel_tool_calls"] = self.parallel_tool_calls
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode() + b"\n"
