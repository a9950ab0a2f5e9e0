"""Pairs and preferences by column: which columns hold them, and the messages they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import Refusal

ACCEPTED_PAIRS = (("prompt", "completion"), ("input", "output"), ("question", "answer"))
"""Names of the two columns, or fields, in order of precedence."""

SYSTEM = "system"
"""Name of the optional column, or field, of system messages."""

CHOICE = ("prompt", "chosen", "rejected")
"""Names of the three columns, or fields, of a preference."""

ACCEPTED_NAMES = frozenset(name for names in (*ACCEPTED_PAIRS, CHOICE) for name in names) | {SYSTEM}


class Pair(NamedTuple):
    """Positions of the columns in a row."""

    prompt: int
    completion: int
    system: int | None


class Choice(NamedTuple):
    """Positions of the columns in a row of two answers."""

    prompt: int
    chosen: int
    rejected: int
    system: int | None


def find_choice(names: Sequence[str]) -> Choice | None:
    """Where prompt and both answers are among `names`; raises as `find_pair` does."""
    found = _find(names, CHOICE)
    return None if found is None else Choice(*found)


def find_pair(names: Sequence[str]) -> Pair | None:
    """Where the first accepted pair is among `names` (any case, spaces around them ignored).

    Raises:
        Refusal: a name that is needed occurs twice.
    """
    for prompt, completion in ACCEPTED_PAIRS:
        found = _find(names, (prompt, completion))
        if found is not None:
            return Pair(*found)
    return None


def _find(names: Sequence[str], wanted: tuple[str, ...]) -> tuple[Any, ...] | None:
    """The positions of all `wanted` among `names`, then that of `SYSTEM` or None.

    None where one that is wanted is missing.

    Raises:
        Refusal: a name that is needed occurs twice.
    """
    plain = [name.strip().lower() for name in names]
    if any(name not in plain for name in wanted):
        return None
    counts = Counter(plain)
    for name in (*wanted, SYSTEM):
        if counts[name] > 1:
            raise Refusal(f"the name {name} is given {counts[name]} times. Keep one.")
    system = plain.index(SYSTEM) if SYSTEM in plain else None
    return (*(plain.index(name) for name in wanted), system)


def accepted_pairs() -> str:
    """The accepted names, for a sentence."""
    return " or ".join("/".join(names) for names in (*ACCEPTED_PAIRS, CHOICE))


def pair_messages(
    prompt: object, completion: object, system: object, names: tuple[str, str]
) -> list[dict[str, Any]]:
    """The chat of a pair; an empty `system` is left out, as a blank cell means none.

    Raises:
        Refusal: one of them is not text, or prompt or completion is empty.
    """
    return [*prompt_messages(prompt, system, names[0]), spoken("assistant", completion, names[1])]


def prompt_messages(prompt: object, system: object, name: str) -> list[dict[str, Any]]:
    """The messages before an answer; raises as `pair_messages` does."""
    messages: list[dict[str, Any]] = []
    if system is not None:
        if not isinstance(system, str):
            raise Refusal(f"`{SYSTEM}` must be a string.")
        if system.strip():
            messages.append({"role": "system", "content": system})
    return [*messages, spoken("user", prompt, name)]


def spoken(role: str, text: object, name: str) -> dict[str, Any]:
    """A message that says `text`, which the column or field `name` holds."""
    if not isinstance(text, str):
        raise Refusal(f"`{name}` must be a string.")
    if not text.strip():
        raise Refusal(f"the {name} is empty. Fill it in or remove the row.")
    return {"role": role, "content": text}
