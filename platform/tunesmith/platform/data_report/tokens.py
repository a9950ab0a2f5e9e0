"""How many tokens examples have for a base: its own tokenizer and chat template, no weights.

Counts what the trainer's renderer renders (`tunesmith.workers.trainer.render`): each learned turn
after exactly the prompt that a request would give, turns in one row as long as each continues the
row, the tail cut off at the context length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.examples import Example

from .chat_template import ChatTemplate, Message, served_tools
from .normal_text import shared_beginning
from .segments import SegmentEncoder

_BATCH = 512
_NO_LIMIT = 1 << 40  # what tokenizers report as `model_max_length` when nobody set it


@dataclass(frozen=True, slots=True)
class Counted:
    """The tokens of one example.

    Attributes:
        tokens: that a training step over it reads, after the cut.
        learned: of these, those that are learned.
        longest: of its longest row before the cut.
        truncated: whether a row was cut.
        refused: why the chat template refuses it, else None.
    """

    tokens: int
    learned: int
    longest: int
    truncated: bool
    refused: str | None = None


class TokenCounter:
    """Counts with one base's tokenizer.

    Args:
        tokenizer: of the `tokenizers` package.
        template: the base's.
        context_length: most tokens in a row.
        stop_ids: at which an engine ends a turn; `eos_id` is added where a turn has none.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        context_length: int,
        stop_ids: Iterable[int],
        eos_id: int | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = SegmentEncoder(tokenizer)
        self._template = template
        self.context_length = context_length
        self._stop_ids = frozenset(stop_ids)
        self._eos_id = eos_id

    @classmethod
    def from_directory(
        cls, directory: str | Path, context_length: int | None = None
    ) -> TokenCounter:
        """The counter of a Hugging Face model directory.

        Args:
            directory: with `tokenizer.json`, `tokenizer_config.json` and `config.json`.
            context_length: a cap below what the model could do.

        Raises:
            InvalidRequest: the directory lacks a tokenizer, a chat template, a stop token or a
                context length.
        """
        from tokenizers import Tokenizer

        folder = Path(directory)
        if not (folder / "tokenizer.json").is_file():
            raise InvalidRequest(
                f"{folder} has no tokenizer.json: give the directory of a base model."
            )
        config = _json(folder / "tokenizer_config.json")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        special = _special_tokens(config)
        eos_id = tokenizer.token_to_id(special["eos_token"]) if "eos_token" in special else None
        stop_ids = _stop_ids(folder, eos_id)
        if not stop_ids:
            raise InvalidRequest(f"The base in {folder} names no end-of-sequence token.")
        return cls(
            tokenizer,
            ChatTemplate(_template(folder, config), special),
            _context_length(folder, config, context_length),
            stop_ids,
            eos_id,
        )

    def count(self, examples: Iterable[Example]) -> Iterator[Counted]:
        """The counts of each example, in order; 512 of them are in memory at once."""
        for _, counted in self.counting(examples):
            yield counted

    def counting(self, examples: Iterable[Example]) -> Iterator[tuple[Example, Counted]]:
        """Each example with its counts.

        While the tokenizer (in Rust, without the interpreter's lock) encodes one batch, the next
        one's texts are rendered.
        """
        remaining = iter(examples)
        with ThreadPoolExecutor(1, "tokenize") as pool:
            under_way: _UnderWay | None = None
            while True:
                batch = list(islice(remaining, _BATCH))
                following = None
                if batch:
                    turns = self._all_turns(batch)
                    texts = list(dict.fromkeys(_texts(turns)))
                    following = batch, turns, pool.submit(self._encoder.encode, texts)
                if under_way is not None:
                    yield from self._counted(*under_way)
                if following is None:
                    return
                under_way = following

    def _counted(
        self, batch: list[Example], turns: list[_Turns], ids: Future[dict[str, list[int]]]
    ) -> Iterator[tuple[Example, Counted]]:
        encoded = ids.result()
        for example, chats in zip(batch, turns, strict=True):
            if isinstance(chats, str):
                yield example, Counted(0, 0, 0, False, chats)
            else:
                rows = [row for chat in chats for row in self._rows(chat, encoded)]
                yield example, self._cut(rows)

    def _all_turns(self, examples: list[Example]) -> list[_Turns]:
        turns: list[_Turns] = []
        for example in examples:
            try:
                turns.append([self._turns(*chat) for chat in _chats(example)])
            except (TemplateError, ValueError, KeyError, TypeError) as error:
                turns.append(str(error) or type(error).__name__)
        return turns

    def _turns(self, messages: list[Message], tools: list[dict[str, Any]] | None) -> list[_Turn]:
        tools = served_tools(tools)
        found = []
        for place, message in enumerate(messages):
            if message["role"] != "assistant" or message.get("weight", 1) == 0:
                continue
            history = self._template.served(messages[:place])
            spoken = self._template.served(messages[: place + 1])
            prompt_text = self._template.text(history, tools, prompt=True)
            spoken_text = self._template.text(spoken, tools, prompt=False)
            if spoken_text.startswith(prompt_text):
                completion = spoken_text[len(prompt_text) :]
                found.append(_Turn(prompt_text, spoken_text, completion, True))
            else:
                completion = spoken_text.removeprefix(self._header(history, spoken, tools))
                found.append(_Turn(prompt_text, spoken_text, completion, False))
        return found

    def _header(
        self, history: list[Message], spoken: list[Message], tools: list[dict[str, Any]] | None
    ) -> str:
        """The text before the last message's content: what two different contents share."""
        one, other = (
            self._template.text([*history, {**spoken[-1], "content": content}], tools, prompt=False)
            for content in ("0", "1")
        )
        return shared_beginning(one, other)

    def _rows(
        self, turns: list[_Turn], ids: dict[str, list[int]]
    ) -> list[tuple[list[int], bytearray]]:
        """(ids, learned or not) of each row of a chat before the cut, as the renderer does."""
        rows: list[tuple[list[int], bytearray]] = []
        for turn in turns:
            prompt = ids[turn.prompt]
            whole = ids[turn.spoken] if turn.whole else []
            if turn.whole and whole[: len(prompt)] == prompt:
                completion = self._ended(whole[len(prompt) :])
            else:
                completion = self._ended(
                    ids[turn.completion]
                    if turn.completion in ids
                    else self._encoder.encode([turn.completion])[turn.completion]
                )
            mask = bytearray(len(prompt))
            if rows and prompt[: len(rows[-1][0])] == rows[-1][0]:
                _, learned = rows.pop()
                mask[: len(learned)] = learned
            rows.append((prompt + completion, mask + b"\x01" * len(completion)))
        return rows

    def _ended(self, completion: list[int]) -> list[int]:
        """The completion up to its end-of-turn token, which is added where a template has none."""
        for place in range(len(completion) - 1, -1, -1):
            if completion[place] in self._stop_ids:
                rest = completion[place + 1 :]
                if rest and self._tokenizer.decode(rest, skip_special_tokens=False).strip():
                    break
                return completion[: place + 1]
        return [*completion, min(self._stop_ids) if self._eos_id is None else self._eos_id]

    def _cut(self, rows: list[tuple[list[int], bytearray]]) -> Counted:
        limit = self.context_length
        tokens = learned = 0
        for ids, mask in rows:
            if mask:
                mask[0] = 0
            if count := mask.count(1, 0, limit):
                tokens += min(len(ids), limit)
                learned += count
        longest = max(len(ids) for ids, _ in rows)
        return Counted(tokens, learned, longest, longest > limit)


@dataclass(frozen=True, slots=True)
class _Turn:
    """The texts of one learned turn; `whole` where the spoken text continues the prompt."""

    prompt: str
    spoken: str
    completion: str
    whole: bool


_Turns = list[list[_Turn]] | str
"""The learned turns of each of an example's chats, or why the template refuses them."""

_UnderWay = tuple[list[Example], list[_Turns], Future[dict[str, list[int]]]]


def _texts(turns: Iterable[_Turns]) -> Iterator[str]:
    for chats in turns:
        for turn in chain.from_iterable(() if isinstance(chats, str) else chats):
            yield turn.prompt
            yield turn.spoken if turn.whole else turn.completion


def _chats(example: Example) -> list[tuple[list[Message], list[dict[str, Any]] | None]]:
    if example.preferred is None:
        return [(example.messages, example.tools)]
    prompt = [
        {**message, "weight": 0} if message["role"] == "assistant" else message
        for message in example.messages
    ]
    answers: Sequence[list[Message]] = (example.preferred, example.rejected or [])
    return [([*prompt, *answer], example.tools) for answer in answers]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _template(folder: Path, config: dict[str, Any]) -> str:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several by name, as transformers writes them
        template = next((t["template"] for t in template if t["name"] == "default"), None)
    if not isinstance(template, str):
        raise InvalidRequest(f"The tokenizer in {folder} has no chat template.")
    return template


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token"):
        token = config.get(name)
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            found[name] = content
    return found


def _stop_ids(folder: Path, eos_id: int | None) -> set[int]:
    ids = set() if eos_id is None else {eos_id}
    configured = _json(folder / "generation_config.json").get("eos_token_id")
    if isinstance(configured, int):
        ids.add(configured)
    elif isinstance(configured, list):
        ids.update(map(int, configured))
    return ids


def _context_length(folder: Path, config: dict[str, Any], cap: int | None) -> int:
    model = _json(folder / "config.json")
    limits = [
        (model.get("text_config") or model).get("max_position_embeddings"),
        config.get("model_max_length"),
        cap,
    ]
    known = [int(limit) for limit in limits if limit is not None and limit < _NO_LIMIT]
    if not known:
        raise InvalidRequest(f"The base in {folder} states no context length; name one.")
    return min(known)
