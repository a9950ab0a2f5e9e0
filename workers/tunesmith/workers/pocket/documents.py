"""What the corpus is made of, and the small crafts that all of its writers share."""

import random
import re

from tunesmith.workers.pocket import words

Turn = tuple[str, str]
"""Role (`system`, `user` or `assistant`) and content."""

Document = list[Turn] | str
"""A chat, or plain running text."""

_SLOT = re.compile(r"\{([a-z]+)\}")
_SLOT_WORDS: dict[str, tuple[str, ...]] = {
    "item": words.ITEMS,
    "name": words.NAMES,
    "city": words.CITIES,
    "day": words.DAYS,
    "month": words.MONTHS,
    "days": words.SPANS,
    "size": words.SIZES,
    "device": words.DEVICES,
    "browser": words.BROWSERS,
    "colour": words.TOPICS["colours"],
    "family": words.TOPICS["family"],
    "material": words.MATERIALS,
}


def fill(rng: random.Random, text: str) -> str:
    """Put a random word into each `{slot}` of `text`."""

    def draw(match: re.Match[str]) -> str:
        slot = match.group(1)
        if slot == "amount":
            return f"{rng.choice('€£$')}{rng.randrange(1, 200)}{rng.choice(('', '.50', '.90'))}"
        if slot == "code":
            return str(rng.choice((17, 21, 100, 403, 404, 500, 502, 503)))
        if slot == "number":
            return str(rng.randrange(1000, 9999))
        return rng.choice(_SLOT_WORDS[slot])

    return _SLOT.sub(draw, text)


def sentence(text: str, end: str = ".") -> str:
    """`text` with a capital first letter and `end` behind it."""
    return text[:1].upper() + text[1:] + end


def article(noun: str) -> str:
    """`noun` with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeioAEIO' else 'a'} {noun}"


def listing(items: list[str] | tuple[str, ...]) -> str:
    """`a, b and c`."""
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])} and {items[-1]}"


def mistype(rng: random.Random, text: str) -> str:
    """Swap, drop or double one letter inside one longer word."""
    candidates = list(re.finditer(r"[a-z]{4,}", text))
    if not candidates:
        return text
    word = rng.choice(candidates)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


_SHORT_FORMS = (
    ("do not", "don't"), ("cannot", "can't"), ("I am", "I'm"), ("hat is", "hat's"),
    ("does not", "doesn't"), ("was not", "wasn't"), ("did not", "didn't"), ("it is", "it's"),
    ("is not", "isn't"), ("I would", "I'd"), ("has not", "hasn't"), ("I have", "I've"),
)  # fmt: skip


def typed_by_hand(rng: random.Random, text: str) -> str:
    """`text` as a hasty person types it: short forms, lower case, slips."""
    if rng.random() < 0.3:
        for long, short in _SHORT_FORMS:
            text = text.replace(long, short)
    if rng.random() < 0.15:
        text = text.lower().rstrip(".!?")
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2))):
        text = mistype(rng, text)
    return text


def another(rng: random.Random, pool: tuple[str, ...], but: str) -> str:
    """A member of `pool` other than `but`."""
    return rng.choice([item for item in pool if item != but])
