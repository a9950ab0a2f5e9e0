"""Base against tuned model on the held-out tickets, through the endpoint that users call."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import OpenAI

CONCURRENCY = 8
MAX_TOKENS = 16  # the labels have at most a few tokens; a base may ramble


@dataclass(frozen=True)
class Ticket:
    """A held-out ticket and the queue that it belongs to."""

    system: str
    text: str
    label: str

    def messages(self) -> list[dict[str, str]]:
        """The chat that asks for its queue."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.text},
        ]


def read_tickets(path: Path) -> list[Ticket]:
    """The tickets of a CSV file with the columns system, prompt, completion."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Ticket(row["system"], row["prompt"], row["completion"]) for row in csv.DictReader(file)
        ]


def ask_all(
    client: OpenAI,
    model: str,
    tickets: Sequence[Ticket],
    on_answer: Callable[[int], None] | None = None,
) -> list[str]:
    """The model's greedy answer to each ticket, in the order of the tickets.

    Args:
        on_answer: told how many answers there are.
    """
    untyped: Any = client  # its overloads want literal roles

    def ask(ticket: Ticket) -> str:
        answer = untyped.chat.completions.create(
            model=model, messages=ticket.messages(), temperature=0, max_tokens=MAX_TOKENS
        )
        return (answer.choices[0].message.content or "").strip()

    answers: list[str] = []
    with ThreadPoolExecutor(max_workers=CONCURRENCY) as pool:
        for answer in pool.map(ask, tickets):
            answers.append(answer)
            if on_answer is not None:
                on_answer(len(answers))
    return answers


def accuracy(answers: Sequence[str], tickets: Sequence[Ticket]) -> float:
    """The share of answers that are exactly the ticket's label."""
    right = sum(a == t.label for a, t in zip(answers, tickets, strict=True))
    return right / len(tickets)
