"""A ticket of the demo, and how a model is asked about it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


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
