"""The rows that both sides train on: short support chats, rendered once by our renderer.

Rendering and tokenising are in no measurement but that of the running platform (section 4).
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tunesmith.workers.pocket import model_directory
from tunesmith.workers.trainer.render import Renderer, Row

SHORT = (20, 120)
"""Tokens of a short example, from and to."""

_THINGS = (
    "parcel", "invoice", "password", "refund", "box", "address", "account", "order", "card",
    "jacket", "lamp", "phone", "receipt", "discount", "delivery", "email",
)  # fmt: skip
_DESKS = ("north", "south", "east", "west", "red", "blue", "green", "gold")
_ASIDES = (
    "It came two days late.", "I wrote about it last week.", "Nobody has answered so far.",
    "I have the number here.", "It was a present for a friend.", "The colour is wrong too.",
    "Please tell me what to do.", "I can send a photo.", "My neighbour has the same problem.",
    "The shop said that you would help.",
)  # fmt: skip
_REPLIES = (
    "We will look at it today.", "You will hear from us soon.", "Please keep the number ready.",
    "There is nothing else to do.", "Thank you for your patience.", "We are sorry about it.",
)  # fmt: skip


class Workload:
    """Makes rows for the pocket base and writes them where both sides read them.

    Args:
        folder: where the JSON files go.
        model: the base's directory.
    """

    def __init__(self, folder: Path, model: Path | None = None) -> None:
        self.folder = folder
        self.model = model or model_directory()
        self._renderer = Renderer.from_directory(self.model)

    def rows(self, count: int, seed: int, lengths: tuple[int, int] = SHORT) -> list[Row]:
        """Rows whose lengths are spread evenly over `lengths`."""
        return [row for _, row in self._made(count, seed, lengths)]

    def examples(
        self, count: int, seed: int, lengths: tuple[int, int] = SHORT
    ) -> list[dict[str, Any]]:
        """The same rows' chat examples, for upload."""
        return [example for example, _ in self._made(count, seed, lengths)]

    def file(self, count: int, seed: int, lengths: tuple[int, int] = SHORT) -> Path:
        """The rows as a JSON file of {"input_ids", "labels"}; the same file for the same rows."""
        path = self.folder / f"{count}-rows-{lengths[0]}-{lengths[1]}-seed-{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([exported(row) for row in self.rows(count, seed, lengths)]))
        return path

    def _made(
        self, count: int, seed: int, lengths: tuple[int, int]
    ) -> list[tuple[dict[str, Any], Row]]:
        draw = random.Random(f"{seed} {lengths}")
        made: list[tuple[dict[str, Any], Row]] = []
        while len(made) < count:
            wanted = draw.randint(*lengths)
            example = self._example(draw, wanted)
            (row,) = self._renderer.render(example, len(made)).rows
            if lengths[0] <= len(row) <= lengths[1]:
                made.append((example, row))
        return made

    def _example(self, draw: random.Random, wanted: int) -> dict[str, Any]:
        """About `wanted` tokens, half of them in the answer, which follows from the question."""
        thing = draw.choice(_THINGS)
        question, answer = [f"My {thing}?"], [f"{_DESKS[_THINGS.index(thing) % len(_DESKS)]}."]
        while self._tokens(question, answer) < wanted - 6:
            question.append(draw.choice(_ASIDES))
            answer.append(draw.choice(_REPLIES))
        return {
            "messages": [
                {"role": "user", "content": " ".join(question)},
                {"role": "assistant", "content": " ".join(answer)},
            ]
        }

    def _tokens(self, question: list[str], answer: list[str]) -> int:
        return len(
            self._renderer.prompt_ids([{"role": "user", "content": " ".join(question + answer)}])
        )


def exported(row: Row) -> dict[str, list[int]]:
    """A row as every trainer of the Hugging Face world reads it."""
    ids = list(row.input_ids)
    return {
        "input_ids": ids,
        "labels": [
            token if learned else -100 for token, learned in zip(ids, row.loss_mask, strict=True)
        ],
    }


def size(rows: list[Row]) -> dict[str, int]:
    """Rows, tokens and learned tokens, for what was held equal."""
    return {
        "rows": len(rows),
        "tokens": sum(len(row) for row in rows),
        "learned_tokens": sum(row.learned_tokens for row in rows),
    }
