"""Small training files for the journeys."""

from __future__ import annotations

import json
from collections.abc import Sequence

from openai import OpenAI

WORDS = ("north", "south", "east", "west", "red", "blue", "green", "black", "gold", "white")


def csv_pairs(count: int, answer: str = "desk {i}") -> bytes:
    """Questions and answers, a different pair per row."""
    rows = [
        f'"where does ticket {i} about the {WORDS[i % len(WORDS)]} box go?",'
        f"{answer.format(i=i, word=WORDS[i % len(WORDS)])}"
        for i in range(count)
    ]
    return ("prompt,completion\n" + "\n".join(rows) + "\n").encode()


def jsonl_chats(chats: Sequence[Sequence[tuple[str, str]]]) -> bytes:
    """Conversations of (role, content)."""
    lines = [
        json.dumps({"messages": [{"role": role, "content": content} for role, content in chat]})
        for chat in chats
    ]
    return ("\n".join(lines) + "\n").encode()


def upload(client: OpenAI, content: bytes, name: str = "examples.csv") -> str:
    """The id of the uploaded training file."""
    return client.files.create(file=(name, content), purpose="fine-tune").id


def ask(client: OpenAI, model: str, question: str, tokens: int = 12) -> str:
    """The greedy answer."""
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        temperature=0,
        max_tokens=tokens,
    )
    return answer.choices[0].message.content or ""
