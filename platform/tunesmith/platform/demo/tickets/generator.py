"""Builds the demo's tickets from their templates, the same bytes on every run.

`python -m tunesmith.platform.demo.tickets.generator` rewrites the two CSV files.
"""

import csv
import io
import random
import re
from pathlib import Path

from tunesmith.platform.demo.tickets.held_out_templates import HELD_OUT
from tunesmith.platform.demo.tickets.templates import LABELS, SYSTEM_PROMPT, Templates
from tunesmith.platform.demo.tickets.training_templates import TRAINING

FILLERS: dict[str, tuple[str, ...]] = {
    "product": (
        "lamp", "rain jacket", "kettle", "backpack", "tent", "chair", "blanket", "teapot",
        "desk", "scarf", "bicycle helmet", "sweater", "frying pan", "mirror", "watch",
        "sleeping bag", "coat", "radio", "pillow", "toaster",
    ),
    "colour": ("blue", "green", "black", "red", "grey", "white", "yellow", "brown"),
    "size": ("small", "medium", "large", "38", "40", "42", "44", "XL"),
    "day": (
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
        "3 March", "12 May", "the 8th",
    ),
    "days": ("five days", "nine days", "two weeks", "ten days", "three weeks", "a month"),
    "month": ("January", "March", "April", "June", "August", "October", "November"),
    "city": ("Oslo", "Lisbon", "Vienna", "Cork", "Turin", "Ghent", "Malmo", "Porto"),
    "device": ("phone", "tablet", "laptop", "old computer"),
    "browser": ("Firefox", "Chrome", "Safari", "Edge"),
    "code": ("404", "500", "502", "403", "17"),
    "years": ("two", "three", "six", "ten"),
    "name": ("Anna", "Tom", "Mrs Novak", "J. Weber", "Lucia", "Sam", "Ines Costa", "Omar", "Petra"),
}  # fmt: skip

_SLOT = re.compile(r"\{(\w+)\}")


def _fill(rng: random.Random, template: str) -> str:
    """Put a random filler into each slot; orders and amounts are drawn as numbers."""

    def draw(match: re.Match[str]) -> str:
        slot = match.group(1)
        if slot == "order":
            return f"{rng.choice(('#', 'no. ', 'order '))}{rng.randrange(1000, 9999)}"
        if slot == "amount":
            return f"{rng.choice('€£$')}{rng.randrange(5, 180)}{rng.choice(('', '.50', '.90'))}"
        return rng.choice(FILLERS[slot])

    return re.sub(r"\border order\b", "order", _SLOT.sub(draw, template))


def _mistype(rng: random.Random, text: str) -> str:
    """Swap, drop or double one letter inside one longer word."""
    words = list(re.finditer(r"[a-z]{5,}", text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


def _dress(rng: random.Random, sentences: list[str]) -> str:
    """Join sentences the way people type: plain, in lower case, on lines, with slips."""
    text = (rng.choice((" ", " ", " ", "\n"))).join(sentences)
    mood = rng.random()
    if mood < 0.12:
        text = text.lower().rstrip(".!")
    elif mood < 0.18:
        text = text.rstrip(".!?") + "!!"
    if rng.random() < 0.15:
        text = _mistype(rng, text)
    return text


def _ticket(rng: random.Random, templates: Templates, label: str, problem: str) -> str:
    sentences = [_fill(rng, problem)]
    if rng.random() < 0.2:
        other = rng.choice([queue for queue in LABELS if queue != label])
        aside = _fill(rng, rng.choice(templates.asides[other]))
        sentences.insert(rng.randrange(2), aside)
    if rng.random() < 0.5:
        sentences.insert(0, _fill(rng, rng.choice(templates.openers)))
    if rng.random() < 0.5:
        sentences.append(_fill(rng, rng.choice(templates.closers)))
    return _dress(rng, sentences)


def tickets(templates: Templates, per_label: int, seed: int) -> list[tuple[str, str]]:
    """`(ticket, label)` pairs, shuffled: `per_label` of each queue, no ticket twice.

    Every problem template is used once before any is used again.
    """
    rng = random.Random(seed)  # noqa: S311 - sample data, nothing secret
    rows: list[tuple[str, str]] = []
    for label in LABELS:
        problems = templates.problems[label]
        seen: set[str] = set()
        while len(seen) < per_label:
            text = _ticket(rng, templates, label, problems[len(seen) % len(problems)])
            if text not in seen:
                seen.add(text)
                rows.append((text, label))
    rng.shuffle(rows)
    return rows


def to_csv(rows: list[tuple[str, str]]) -> bytes:
    """The CSV file of `rows`: columns system, prompt, completion; UTF-8, LF line ends."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("system", "prompt", "completion"))
    writer.writerows((SYSTEM_PROMPT, ticket, label) for ticket, label in rows)
    return text.getvalue().encode()


def training_rows() -> list[tuple[str, str]]:
    """The demo's 960 training tickets."""
    return tickets(TRAINING, per_label=120, seed=11)


def held_out_rows() -> list[tuple[str, str]]:
    """The demo's 160 held-out tickets."""
    return tickets(HELD_OUT, per_label=20, seed=12)


def main() -> None:
    """Rewrite both CSV files beside this module."""
    here = Path(__file__).parent
    for name, rows in (("train.csv", training_rows()), ("held_out.csv", held_out_rows())):
        (here / name).write_bytes(to_csv(rows))
        print(f"{name}: {len(rows)} tickets")


if __name__ == "__main__":
    main()
