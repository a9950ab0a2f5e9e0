"""Chat examples become token rows that learn exactly what an engine will be asked for."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from .base import Base, load_chat_limits, load_tokenizer
from .conversation import Message, served_messages, served_tools
from .errors import ConversationInvalid, ExampleInvalid, ExampleTooLong


@dataclass(frozen=True)
class Row:
    """One training sequence.

    Attributes:
        input_ids: token ids, array of C int.
        loss_mask: one byte per token; 1 where the token is learned (predicted with loss).
        example: 0-based index of the example it came from.
    """

    input_ids: array[int]
    loss_mask: bytes
    example: int

    def __post_init__(self) -> None:
        if len(self.input_ids) != len(self.loss_mask):
            raise ValueError("input_ids and loss_mask differ in length")
        if self.loss_mask[:1] == b"\x01":
            raise ValueError("nothing comes before the first token that could predict it")

    @classmethod
    def of(cls, input_ids: Sequence[int], loss_mask: bytes, example: int = 0) -> Row:
        """A row from any sequence of token ids."""
        return cls(array("i", input_ids), loss_mask, example)

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def learned_tokens(self) -> int:
        return self.loss_mask.count(1)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Itself: an item of supervised training is one row."""
        return (self,)


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, the first preferred: an item of preference training.

    Attributes:
        preferred, rejected: the prompt with each answer; the answer's tokens are learned.
    """

    preferred: Row
    rejected: Row

    def __len__(self) -> int:
        return len(self.preferred) + len(self.rejected)

    @property
    def learned_tokens(self) -> int:
        return self.preferred.learned_tokens + self.rejected.learned_tokens

    @property
    def example(self) -> int:
        return self.preferred.example

    @property
    def rows(self) -> tuple[Row, ...]:
        return (self.preferred, self.rejected)


Item = Row | Pair
"""What is drawn from the data as one: a row, or a pair of rows."""


@dataclass(frozen=True)
class Rendered:
    """The rows of one example.

    Attributes:
        rows: at least one, each with at least one learned token.
        truncated: whether tokens were cut off at the context length.
    """

    rows: tuple[Row, ...]
    truncated: bool


@dataclass
class Rendering:
    """The rows of a data set.

    Attributes:
        rows: in the order of the examples.
        truncated: 0-based indices of the examples that were cut at the context length.
        examples: number of examples.
    """

    rows: list[Row] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)
    examples: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(row) for row in self.rows)

    @property
    def learned_tokens(self) -> int:
        return sum(row.learned_tokens for row in self.rows)


class Renderer:
    """Renders with the base's own chat template.

    Args:
        tokenizer: with a chat template.
        context_length: most tokens in a row.
        stop_ids: ids at which an engine ends a turn.
    """

    def __init__(self, tokenizer: Any, context_length: int, stop_ids: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._stop_ids = frozenset(stop_ids)

    @classmethod
    def of(cls, base: Base) -> Renderer:
        return cls(base.tokenizer, base.context_length, base.stop_ids)

    @classmethod
    def from_directory(
        cls, directory: str | Path, *, context_length: int | None = None
    ) -> Renderer:
        """A renderer for a base directory without loading its weights.

        Raises:
            BaseUnusable: no usable tokenizer, chat template or stop token.
        """
        tokenizer = load_tokenizer(directory)
        return cls(tokenizer, *load_chat_limits(directory, tokenizer, context_length))

    def prompt_ids(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """Token ids of a chat request, as an engine renders it before it generates.

        Raises:
            ConversationInvalid: messages or tools that no engine would take.
            jinja2.TemplateError: the chat template refuses the conversation.
        """
        served = served_messages(messages, self._template(tools))
        return self._encode(self._text(served, served_tools(tools), prompt=True))

    def render(self, example: Mapping[str, Any], index: int = 0) -> Rendered:
        """Render one chat example `{"messages": [...], "tools"?: [...]}`.

        Every assistant message with `weight` other than 0 is learned, from its first token to its
        end-of-turn token. A turn's context is exactly the prompt that a request with the messages
        before it would give. Turns share a row as long as each prompt continues the row so far;
        where a template rewrites history, the turn becomes a row of its own. A row past the
        context length loses its tail: what stays is what an engine could have been asked.

        Raises:
            ExampleInvalid: malformed, refused by the template, or nothing to learn in it.
            ExampleTooLong: nothing to learn is left within the context length.
        """
        messages = example.get("messages")
        if not isinstance(messages, list) or not all(isinstance(item, dict) for item in messages):
            raise ExampleInvalid(index, "messages must be a list of objects")
        turns = [place for place, message in enumerate(messages) if _is_learned(message, index)]
        if not turns:
            raise ExampleInvalid(index, "no assistant message to learn from")
        if turns[0] == 0:
            raise ExampleInvalid(index, "nothing comes before the first assistant message")
        tools = example.get("tools")
        try:
            served_tool_list = served_tools(tools)
            sequences = self._sequences(messages, turns, served_tool_list)
        except (ConversationInvalid, TemplateError) as error:
            raise ExampleInvalid(index, str(error)) from error
        return self._cut(sequences, index)

    def render_pair(self, example: Mapping[str, Any], index: int = 0) -> tuple[Pair, bool]:
        """Render one preference example `{"messages", "tools"?, "preferred", "rejected"}`.

        `messages` is the prompt and nothing of it is learned; `preferred` and `rejected` are lists
        of the messages that answer it.

        Returns:
            The pair, and whether tokens were cut off at the context length.

        Raises:
            ExampleInvalid: malformed, refused by the template, or both answers the same tokens.
            ExampleTooLong: nothing of an answer is left within the context length.
        """
        prompt = [
            {**message, "weight": 0} if message.get("role") == "assistant" else message
            for message in example["messages"]
        ]
        rows: list[Row] = []
        truncated = False
        for which in ("preferred", "rejected"):
            answer = example.get(which)
            if not isinstance(answer, list) or not answer:
                raise ExampleInvalid(index, f"{which} must be a list of messages")
            rendered = self.render(
                {"messages": [*prompt, *answer], "tools": example.get("tools")}, index
            )
            if len(rendered.rows) != 1:
                raise ExampleInvalid(
                    index,
                    f"the chat template rewrites history between the messages of the {which}"
                    " answer; give one message",
                )
            rows.append(rendered.rows[0])
            truncated = truncated or rendered.truncated
        if rows[0].input_ids == rows[1].input_ids:
            raise ExampleInvalid(index, "both answers are the same tokens: nothing to prefer")
        return Pair(*rows), truncated

    def render_all(
        self,
        examples: Iterable[Mapping[str, Any]],
        progress: Callable[[int], None] | None = None,
    ) -> Rendering:
        """Render a data set; `progress` is called with the number of examples done.

        Raises:
            ExampleInvalid, ExampleTooLong: for the first example that can't be learned from.
        """
        rendering = Rendering()
        for index, example in enumerate(examples):
            rendered = self.render(example, index)
            rendering.rows.extend(rendered.rows)
            if rendered.truncated:
                rendering.truncated.append(index)
            rendering.examples = index + 1
            if progress is not None:
                progress(index + 1)
        return rendering

    def _sequences(
        self, messages: list[Message], turns: list[int], tools: list[dict[str, Any]] | None
    ) -> list[tuple[list[int], bytearray]]:
        """(ids, loss mask) per row, before any cut."""
        template = self._template(tools)
        sequences: list[tuple[list[int], bytearray]] = []
        for turn in turns:
            history = served_messages(messages[:turn], template)
            spoken = served_messages(messages[: turn + 1], template)
            prompt, completion = self._turn(history, spoken, tools)
            mask = bytearray(len(prompt))
            if sequences and prompt[: len(sequences[-1][0])] == sequences[-1][0]:
                mask[: len(sequences[-1][1])] = sequences[-1][1]
                sequences.pop()
            sequences.append((prompt + completion, mask + b"\x01" * len(completion)))
        return sequences

    def _turn(
        self, history: list[Message], spoken: list[Message], tools: list[dict[str, Any]] | None
    ) -> tuple[list[int], list[int]]:
        """Prompt ids and completion ids of the last message of `spoken`."""
        prompt_text = self._text(history, tools, prompt=True)
        spoken_text = self._text(spoken, tools, prompt=False)
        prompt = self._encode(prompt_text)
        if spoken_text.startswith(prompt_text):
            # Tokenised as a whole where possible: that is how the turn will look as history.
            whole = self._encode(spoken_text)
            if whole[: len(prompt)] == prompt:
                return prompt, self._ended(whole[len(prompt) :])
            completion_text = spoken_text[len(prompt_text) :]
        else:
            # The generation prompt isn't part of a spoken turn, such as an opened thought.
            completion_text = spoken_text.removeprefix(self._header(history, spoken, tools))
        return prompt, self._ended(self._encode(completion_text))

    def _header(
        self, history: list[Message], spoken: list[Message], tools: list[dict[str, Any]] | None
    ) -> str:
        """The text before the last message's content: what two different contents share."""
        one, other = (
            self._text([*history, {**spoken[-1], "content": content}], tools, prompt=False)
            for content in ("0", "1")
        )
        pairs = enumerate(zip(one, other, strict=False))
        header = one[: next((place for place, (a, b) in pairs if a != b), len(one))]
        if not self._text(spoken, tools, prompt=False).startswith(header):
            raise ConversationInvalid(
                "the chat template doesn't show where the assistant's answer begins"
            )
        return header

    def _ended(self, completion: list[int]) -> list[int]:
        """The completion up to its end-of-turn token, which is added where a template has none."""
        for place in range(len(completion) - 1, -1, -1):
            if completion[place] in self._stop_ids:
                if self._tokenizer.decode(completion[place + 1 :]).strip():
                    break
                return completion[: place + 1]
        # The template ends turns with something at which no engine stops.
        eos = self._tokenizer.eos_token_id
        return [*completion, min(self._stop_ids) if eos is None else int(eos)]

    def _cut(self, sequences: list[tuple[list[int], bytearray]], index: int) -> Rendered:
        limit = self._context_length
        rows = []
        for ids, mask in sequences:
            if mask and mask[0]:
                mask[0] = 0  # nothing comes before the first token that could predict it
            if any(mask[:limit]):
                rows.append(Row(array("i", ids[:limit]), bytes(mask[:limit]), index))
        longest = max(len(ids) for ids, _ in sequences)
        if not rows:
            raise ExampleTooLong(index, longest, limit)
        return Rendered(tuple(rows), truncated=longest > limit)

    def _template(self, tools: Sequence[Mapping[str, Any]] | None) -> str:
        return str(self._tokenizer.get_chat_template(tools=tools))

    def _text(
        self, messages: list[Message], tools: list[dict[str, Any]] | None, *, prompt: bool
    ) -> str:
        text = self._tokenizer.apply_chat_template(
            messages, tools=tools, add_generation_prompt=prompt, tokenize=False
        )
        return str(text)

    def _encode(self, text: str) -> list[int]:
        # The template has written every special token that belongs there.
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def _is_learned(message: Message, index: int) -> bool:
    if message.get("role") != "assistant":
        return False
    weight = message.get("weight", 1)
    if weight not in (0, 1, None):
        raise ExampleInvalid(index, f"weight must be 0 or 1, got {weight!r}")
    return bool(weight != 0)
