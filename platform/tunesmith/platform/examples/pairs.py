"""Prompt and completion pairs: which columns hold them, and the chat that they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import Refusal

ACCEPTED_PAIRS = (("prompt", "completion"), ("input", "output"), ("question", "answer"))
"""Names of the two columns, or fields, in order of precedence."""

SYSTEM = "system"
"""Name of the optional column, or field, of system messages."""

ACCEPTED_NAMES = frozenset(name for pair in ACCEPTED_PAIRS for name in pair) | {SYSTEM}


class Pair(NamedTuple):
    """Positions of the columns in a row."""

    prompt: int
    completion: int
    system: int | None


def find_pair(names: Sequence[str]) -> Pair | None:
    """Where the first accepted pair is among `names` (any case, spaces around them ignored).

    Raises:
        Refusal: a name that is needed occurs twice.
    """
    plain = [name.strip().lower() for name in names]
    for prompt, completion in ACCEPTED_PAIRS:
        if prompt in plain and completion in plain:
            counts = Counter(plain)
            for name in (prompt, completion, SYSTEM):
                if counts[name] > 1:
                    raise Refusal(f"the name {name} is given {counts[name]} times. Keep one.")
            system = plain.index(SYSTEM) if SYSTEM in plain else None
            return Pair(plain.index(prompt), plain.index(completion), system)
    return None


def accepted_pairs() -> str:
    """The accepted pairs, for a sentence."""
    return " or ".join(f"{prompt}/{completion}" for prompt, completion in ACCEPTED_PAIRS)


def pair_messages(
    prompt: object, completion: object, system: object, names: tuple[str, str]
) -> list[dict[str, Any]]:
    """The chat of a pair; an empty `system` is left out, as a blank cell means none.

    Raises:
        Refusal: one of them is not text, or prompt or completion is empty.
    """
    messages: list[dict[str, Any]] = []
    if system is not None:
        if not isinstance(system, str):
            raise Refusal(f"`{SYSTEM}` must be a string.")
        if system.strip():
            messages.append({"role": "system", "content": system})
    for role, name, text in (("user", names[0], prompt), ("assistant", names[1], completion)):
        if not isinstance(text, str):
            raise Refusal(f"`{name}` must be a string.")
        if not text.strip():
            raise Refusal(f"the {name} is empty. Fill it in or remove the row.")
        messages.append({"role": role, "content": text})
    return messages
