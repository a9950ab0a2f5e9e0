"""Examples as columns of text, for checks that look at all rows at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunesmith.platform.examples import Example, ExamplesKind


@dataclass(frozen=True)
class Table:
    """The rows of a data set, column by column, all of one length.

    Attributes:
        kind: what the rows are.
        lines: of each row in the user's file, from 1.
        inputs: everything before the answer, as one text; rows with equal inputs ask the same.
        prompts: the last user message alone.
        answers: the last learned answer (of a preference the preferred one); tool calls as JSON.
        rejected: of preferences the rejected answer, else empty texts.
    """

    kind: ExamplesKind
    lines: list[int]
    inputs: list[str]
    prompts: list[str]
    answers: list[str]
    rejected: list[str]

    def __len__(self) -> int:
        return len(self.lines)

    @cached_property
    def questions(self) -> list[str]:
        """The inputs without a system message at their head, which many rows share."""
        return [_without_system(text) for text in self.inputs]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Table:
        """The columns of `examples`."""
        table = cls(ExamplesKind.CHAT, [], [], [], [], [])
        kind = ExamplesKind.CHAT
        for example in examples:
            kind = example.kind
            before, answer = split_answer(example)
            table.lines.append(example.line)
            table.inputs.append("\n".join(_spoken(message) for message in before))
            users = [message["content"] for message in before if message["role"] == "user"]
            table.prompts.append(users[-1] if users else "")
            table.answers.append(_text(answer))
            rejected = example.rejected
            table.rejected.append(_text(rejected[-1]) if rejected else "")
        return cls(kind, table.lines, table.inputs, table.prompts, table.answers, table.rejected)


def split_answer(example: Example) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The messages before the last learned answer, and that answer."""
    if example.preferred is not None:
        return example.messages, example.preferred[-1]
    for place in range(len(example.messages) - 1, -1, -1):
        message = example.messages[place]
        if message["role"] == "assistant" and message.get("weight", 1):
            return example.messages[:place], message
    raise ValueError(f"line {example.line} has no answer to learn")


def _without_system(text: str) -> str:
    if not text.startswith("system: "):
        return text
    _, found, question = text.partition("\nuser: ")
    return question if found else text


def _spoken(message: dict[str, Any]) -> str:
    return f"{message['role']}: {_text(message)}"


def _text(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    if not calls:
        return str(message["content"])
    return f"{message['content']}{json.dumps(calls, ensure_ascii=False, sort_keys=True)}"
