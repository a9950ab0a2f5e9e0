"""Generated examples with a known number of each defect, for the data report's recall."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

LABELS = ("billing", "orders", "returns", "shipping", "account", "bugs", "stock", "privacy")
SYSTEM = "Sort the customer's message into one of our queues and answer with its name alone."

_ONSETS = (*"bcdfghjklmnprstvw", "br", "ch", "dr", "fl", "gr", "pl", "sh", "st", "tr")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "oo")
_CODAS = ("b", "ck", "d", "l", "m", "n", "nd", "r", "rt", "s", "st", "t")


@dataclass(frozen=True)
class Row:
    """One example: what is asked and what is answered."""

    prompt: str
    answer: str


@dataclass
class Planted:
    """A data set and where its defects are.

    Attributes:
        rows: the training file.
        validation: the validation file.
        defects: name -> 0-based rows (of a copy: both it and its original, as a tuple; of
            leakage: rows of the validation file).
        touched: rows that are a defect or the original of one; all others are clean.
    """

    rows: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    defects: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)

    def recall(self, name: str, found: Collection[int]) -> float:
        """Share of the planted defects of which at least one row is among `found`."""
        planted = self.defects[name]
        return sum(any(row in found for row in rows) for rows in planted) / len(planted)

    def false_alarms(self, found: Iterable[int]) -> float:
        """Share of the clean rows that are among `found`."""
        clean = len(self.rows) - len(self.touched)
        return sum(row not in self.touched for row in found) / clean

    def leakage_false_alarms(self, found: Iterable[int]) -> float:
        """Share of the validation rows that didn't leak and are among `found`."""
        leaked = {row for name in ("leakage", "near_leakage") for (row,) in self.defects[name]}
        return sum(row not in leaked for row in found) / (len(self.validation) - len(leaked))


def planted(rows: int, each: int, seed: int = 0, long_words: int = 600) -> Planted:
    """A data set of `rows` rows, `each` of every kind of defect among them.

    Args:
        rows: all of them.
        each: of every kind, exact and near leakage into a validation file of 10 % included.
        seed: the same gives the same rows.
        long_words: words of the answers and inputs that are too long for a base.
    """
    rng = random.Random(seed)
    speech = _Speech(rng)
    made = Planted()
    kinds: dict[str, Callable[[Row], Row]] = {
        "exact_duplicates": lambda row: rng.choice(
            [row, Row(row.prompt.upper(), row.answer), Row(f" {row.prompt}  ", row.answer)]
        ),
        "near_duplicates": lambda row: Row(speech.nearly(row.prompt), row.answer),
        "contradictions": lambda row: Row(row.prompt, _another(rng, row.answer)),
    }
    alone: dict[str, Callable[[], Row]] = {
        "label_errors": lambda: _mislabelled(rng, speech.row()),
        "outliers": lambda: Row(speech.foreign(), rng.choice(LABELS)),
        "nothing_to_learn": lambda: Row(speech.prose(long_words), rng.choice(LABELS)),
    }
    clean = rows - each * (len(kinds) + len(alone))
    plan: list[tuple[str, int, Row]] = [("", -1, speech.row()) for _ in range(clean)]
    originals = iter(rng.sample(range(clean), each * (len(kinds) + 2)))
    for name, copy in kinds.items():
        for _ in range(each):
            original = next(originals)
            plan.append((name, original, copy(plan[original][2])))
    for name, make in alone.items():
        plan += [(name, -1, make()) for _ in range(each)]
    order = list(range(len(plan)))
    rng.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    for name, original, row in (plan[old] for old in order):
        here = len(made.rows)
        made.rows.append(row)
        if name:
            places = (here,) if original < 0 else (here, place[original])
            made.defects.setdefault(name, []).append(places)
            made.touched.update(places)
    for name in ("leakage", "near_leakage"):
        made.defects[name] = []
        for _ in range(each):
            row = plan[next(originals)][2]
            made.defects[name].append((len(made.validation),))
            made.validation.append(
                row if name == "leakage" else Row(speech.nearly(row.prompt), row.answer)
            )
    made.validation += [speech.row() for _ in range(max(each, rows // 10 - 2 * each))]
    return made


def write_chats(path: Path, rows: Iterable[Row]) -> None:
    """The rows as JSONL of chats with a system message; a row's line is its place + 1."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            messages = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": row.prompt},
                {"role": "assistant", "content": row.answer},
            ]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def _mislabelled(rng: random.Random, row: Row) -> Row:
    return Row(row.prompt, _another(rng, row.answer))


def _another(rng: random.Random, label: str) -> str:
    return rng.choice([other for other in LABELS if other != label])


class _Speech:
    """Sentences of invented words: common ones, and some that go with each label."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        words: list[str] = []
        while len(words) < 3000:
            words += dict.fromkeys(self._word() for _ in range(500))
            words = list(dict.fromkeys(words))
        self._common = words[:2400]
        self._of_label = {
            label: words[2400 + 60 * place : 2460 + 60 * place]
            for place, label in enumerate(LABELS)
        }

    def _word(self) -> str:
        rng = self._rng
        syllables = rng.choices((1, 2, 3), (5, 4, 1))[0]
        return "".join(
            rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)
        )

    def row(self) -> Row:
        rng = self._rng
        label = rng.choice(LABELS)
        words = [self._ordinary() for _ in range(rng.randint(7, 16))]
        words += rng.choices(self._of_label[label], k=rng.randint(3, 6))
        rng.shuffle(words)
        if rng.random() < 0.3:
            words.insert(rng.randrange(len(words)), str(rng.randrange(10**6)))
        return Row(self._sentence(words), label)

    def prose(self, words: int) -> str:
        return self._sentence([self._ordinary() for _ in range(words)])

    def foreign(self) -> str:
        """A sentence of words that nobody else uses."""
        letters = "qxzvywkj"
        words = ["".join(self._rng.choices(letters, k=self._rng.randint(4, 9))) for _ in range(14)]
        return self._sentence(words)

    def nearly(self, prompt: str) -> str:
        """`prompt` with one small change: a word more, a typing error, other punctuation."""
        rng = self._rng
        words = prompt.split()
        at = rng.choice([p for p, word in enumerate(words) if word.isalpha() and len(word) > 2])
        kind = rng.randrange(5)
        if kind == 0:
            words.insert(at, rng.choice(["please", "just", "really", "again"]))
        elif kind == 1:  # two letters turned round
            word = words[at]
            words[at] = word[:-2] + word[-1] + word[-2] if word[-1] != word[-2] else word[:-1]
        elif kind == 2:
            words.append("Thanks!")
        elif kind == 3:
            words[at] = words[at] + "," if at < len(words) - 1 else words[at] + "!"
            words = [word.title() for word in words]
        else:
            del words[at]
        return " ".join(words)

    def _ordinary(self) -> str:
        # Common words are far commoner than rare ones, as in speech.
        return self._common[int(len(self._common) * self._rng.random() ** 2)]

    def _sentence(self, words: list[str]) -> str:
        text = " ".join(words)
        return text[0].upper() + text[1:] + self._rng.choice([".", "?", "!", ""])
