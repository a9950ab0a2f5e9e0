"""Examples become questions, and models answer them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.platform.data_report.table import split_answer
from tunesmith.platform.examples import Example

from .engine_client import EngineClient, EngineRefused, ModelNotServed
from .grading.structured import calls_as_text

_ROOM = 1.5
_SPARE_TOKENS = 16


@dataclass(frozen=True)
class Item:
    """An example as a question: the messages before its last learned answer, and that answer.

    Attributes:
        line: in the user's file.
        reference: the right answer's message; of a preference the preferred one.
        rejected: of a preference the other answer's message.
    """

    line: int
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    reference: dict[str, Any]
    rejected: dict[str, Any] | None

    @property
    def question(self) -> str:
        """What is asked, for people: the last message before the answer."""
        return str(self.messages[-1]["content"]) if self.messages else ""

    @property
    def expected(self) -> str:
        """The right answer as a text that metrics compare."""
        return said(self.reference)


@dataclass(frozen=True)
class Answer:
    """What a model said; `refused` is the engine's reason where it would not be asked.

    Attributes:
        text: what metrics compare: content, or tool calls in their own form.
        finish_reason: OpenAI's; `length` where the answer ran out of room.
        tool_calls: as the engine gave them.
    """

    text: str
    completion_tokens: int = 0
    refused: str | None = None
    prompt_tokens: int = 0
    finish_reason: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


def said(message: dict[str, Any]) -> str:
    """A message as a text that metrics compare: its content, or its tool calls."""
    calls = message.get("tool_calls")
    return calls_as_text(calls) if calls else str(message.get("content") or "").strip()


def items_of(examples: Iterable[Example], *, limit: int, seed: int = 0) -> list[Item]:
    """The questions of `examples`, in their order; a fixed sample where there are more."""
    items = []
    for example in examples:
        before, reference = split_answer(example)
        messages = [_asked(message) for message in before]
        rejected = example.rejected[-1] if example.rejected else None
        items.append(Item(example.line, messages, example.tools, _asked(reference), rejected))
    if len(items) > limit:
        chosen = sorted(random.Random(seed).sample(range(len(items)), limit))  # noqa: S311
        items = [items[place] for place in chosen]
    return items


def _asked(message: dict[str, Any]) -> dict[str, Any]:
    """A message as users' requests have it: `weight` is training's alone."""
    return {key: value for key, value in message.items() if key != "weight"}


async def answer_room(client: EngineClient, items: Sequence[Item]) -> int:
    """Tokens that an answer may have: half as many again as the longest right one, and some.

    A base rambles where a tuned model is brief; an answer cut off there is wrong anyway. Never more
    than the context, which an engine refuses.
    """
    longest = sorted((item.expected for item in items), key=len)[-3:]
    counts = [len(await client.tokenize_text(text)) for text in longest if text]
    room = int(max(counts, default=0) * _ROOM) + _SPARE_TOKENS
    return room if client.context_length is None else min(room, client.context_length)


async def answer_all(
    client: EngineClient,
    model: str,
    items: Sequence[Item],
    *,
    max_tokens: int,
    on_answer: Callable[[], None] = lambda: None,
) -> list[Answer]:
    """The greedy answers of `model` (an engine's name: base or digest), in the items' order.

    Raises:
        EngineRefused: every one of the items, which then is no property of a question.
        ModelNotServed: the engine doesn't know the model or can't load it.
        EngineUnreachable: no engine answers.
    """

    async def one(item: Item) -> Answer:
        try:
            answer = await client.chat(
                model, item.messages, max_tokens=max_tokens, tools=item.tools
            )
        except ModelNotServed:
            raise
        except EngineRefused as error:
            on_answer()
            return Answer("", refused=str(error))
        on_answer()
        return _answer(answer)

    answers = list(await asyncio.gather(*(one(item) for item in items)))
    if answers and all(answer.refused for answer in answers):
        raise EngineRefused(f"None of {len(answers)} questions is answered. {answers[0].refused}")
    return answers


def _answer(completion: dict[str, Any]) -> Answer:
    choice = completion["choices"][0]
    usage = completion.get("usage") or {}
    return Answer(
        said(choice["message"]),
        usage.get("completion_tokens") or 0,
        prompt_tokens=usage.get("prompt_tokens") or 0,
        finish_reason=choice.get("finish_reason"),
        tool_calls=choice["message"].get("tool_calls") or None,
    )
