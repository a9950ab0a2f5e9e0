"""An example in its one normal form: a chat, or a preference between two answers to one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ExamplesKind(StrEnum):
    """What the examples of a file are; a file holds one kind."""

    CHAT = "chat"
    PREFERENCES = "preferences"


class FileFormat(StrEnum):
    """How an examples file is written, by its first row."""

    CHAT_JSONL = "jsonl chat"
    PAIR_JSONL = "jsonl pairs"
    PAIR_CSV = "csv pairs"
    PREFERENCE_JSONL = "jsonl preferences"
    PREFERENCE_CSV = "csv preferences"
    CHAT_PARQUET = "parquet chat"
    PAIR_PARQUET = "parquet pairs"
    PREFERENCE_PARQUET = "parquet preferences"
    PAIR_XLSX = "xlsx pairs"
    PREFERENCE_XLSX = "xlsx preferences"


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn from, or two answers to one of which the first is preferred.

    `line` is where it starts in the file that the user wrote, from 1 (of Parquet and sheets the
    row). `messages` are OpenAI chat messages with these fields, in this order, and no others:
    `role`, `content` (always a string, empty beside tool calls), `name`, `tool_calls`,
    `tool_call_id`, `weight` (assistant only: 0 is context, 1 or absent is learned). `tools` is
    OpenAI's list of tools, or None.

    In a preference `messages` is the input, and `preferred` and `rejected` are the answers to it,
    each a list of one assistant message; nothing in it has a weight. In a chat both are None.
    """

    line: int
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None
    preferred: list[dict[str, Any]] | None = None
    rejected: list[dict[str, Any]] | None = None

    @property
    def kind(self) -> ExamplesKind:
        """Whether it is a chat or a preference."""
        return ExamplesKind.CHAT if self.preferred is None else ExamplesKind.PREFERENCES

    def to_json(self) -> bytes:
        """The canonical JSONL line, newline included."""
        row: dict[str, Any] = {"line": self.line, "messages": self.messages}
        if self.tools is not None:
            row["tools"] = self.tools
        if self.parallel_tool_calls is not None:
            row["parallel_tool_calls"] = self.parallel_tool_calls
        if self.preferred is not None:
            row["preferred"] = self.preferred
            row["rejected"] = self.rejected
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode() + b"\n"
