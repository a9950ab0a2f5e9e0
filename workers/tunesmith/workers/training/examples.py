"""A job's examples, from storage to token rows; problems are told by the file's own lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunesmith.platform.examples import read_normalised
from tunesmith.platform.storage import Storage
from tunesmith.workers.trainer.errors import ExampleInvalid
from tunesmith.workers.trainer.render import Renderer, Row

_KEPT = 8


class ExamplesUnusable(Exception):
    """An example cannot be learned from; the message names its line."""


@dataclass(frozen=True)
class Examples:
    """Rendered examples.

    Attributes:
        rows: training sequences.
        first: the first few examples as they were read.
        lines: each example's line in the uploaded file.
        truncated: lines of the examples that were cut at the context length.
    """

    rows: list[Row]
    first: list[dict[str, Any]]
    lines: list[int]
    truncated: list[int]

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(len(row) for row in self.rows)

    @property
    def learned_tokens(self) -> int:
        """Tokens with loss."""
        return sum(row.learned_tokens for row in self.rows)


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
    rows: list[Row] = []
    first: list[dict[str, Any]] = []
    lines: list[int] = []
    truncated: list[int] = []
    with storage.open_read(key) as stream:
        for index, example in enumerate(read_normalised(stream)):
            if stop():
                raise InterruptedError
            conversation = {"messages": example.messages, "tools": example.tools}
            try:
                rendered = renderer.render(conversation, index)
            except ExampleInvalid as error:
                raise ExamplesUnusable(f"line {example.line}: {error.reason}") from error
            rows.extend(rendered.rows)
            if index < _KEPT:
                first.append(conversation)
            lines.append(example.line)
            if rendered.truncated:
                truncated.append(example.line)
    return Examples(rows, first, lines, truncated)
