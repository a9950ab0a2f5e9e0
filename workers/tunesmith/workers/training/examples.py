"""A job's examples, from storage to token rows; problems are told by the file's own lines."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.platform.examples import read_normalised
from tunesmith.platform.storage import Storage
from tunesmith.workers.trainer.errors import ExampleInvalid
from tunesmith.workers.trainer.render import Item, Renderer

_KEPT = 8


class ExamplesUnusable(Exception):
    """An example cannot be learned from; the message names its line."""


@dataclass(frozen=True)
class Examples:
    """Rendered examples.

    Attributes:
        items: training sequences, or pairs of them where the examples are preferences.
        first: the first few examples as they were read.
        lines: each example's line in the uploaded file.
        truncated: lines of the examples that were cut at the context length.
    """

    items: list[Item]
    first: list[dict[str, Any]]
    lines: list[int]
    truncated: list[int]

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(len(item) for item in self.items)

    @property
    def learned_tokens(self) -> int:
        """Tokens with loss."""
        return sum(item.learned_tokens for item in self.items)

    @property
    def longest(self) -> int:
        """Tokens of the longest item."""
        return max(len(item) for item in self.items)

    def split(self, lines: Collection[int]) -> tuple[Examples, Examples | None]:
        """What is trained on, and what is held out of it: the examples at `lines`, None if none."""
        held_out = set(lines)
        chosen = {place for place, line in enumerate(self.lines) if line in held_out}
        if not chosen:
            return self, None
        kept = [item for item in self.items if item.example not in chosen]
        apart = [item for item in self.items if item.example in chosen]
        return replace(self, items=kept), replace(self, items=apart)


def load_examples(
    storage: Storage,
    key: str,
    renderer: Renderer,
    stop: Callable[[], bool] = lambda: False,
) -> Examples:
    """Read and render normalised examples.

    Args:
        stop: asked before each example; the reading ends with `InterruptedError` when it is True.

    Raises:
        ExamplesUnusable: for the first example that cannot be learned from.
        ObjectNotFound: the file was deleted.
        StorageUnavailable: storage does not answer.
    """
    items: list[Item] = []
    first: list[dict[str, Any]] = []
    lines: list[int] = []
    truncated: list[int] = []
    with storage.open_read(key) as stream:
        for index, example in enumerate(read_normalised(stream)):
            if stop():
                raise InterruptedError
            conversation = {"messages": example.messages, "tools": example.tools}
            if example.preferred is not None:
                conversation |= {"preferred": example.preferred, "rejected": example.rejected}
            try:
                if example.preferred is not None:
                    pair, cut = renderer.render_pair(conversation, index)
                    items.append(pair)
                else:
                    rendered = renderer.render(conversation, index)
                    items.extend(rendered.rows)
                    cut = rendered.truncated
            except ExampleInvalid as error:
                raise ExamplesUnusable(f"line {example.line}: {error.reason}") from error
            if index < _KEPT:
                first.append(conversation)
            lines.append(example.line)
            if cut:
                truncated.append(example.line)
    return Examples(items, first, lines, truncated)
