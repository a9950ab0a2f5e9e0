"""Which examples are held out for validation when no validation file was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tunesmith.platform.data_report.labels import is_categorical, normalised_label, proper_labels
from tunesmith.platform.data_report.table import Table
from tunesmith.platform.examples import Example, read_normalised
from tunesmith.platform.storage import Storage
from tunesmith.workers.trainer.data_order import derived_seed
from tunesmith.workers.training.prompt_groups import equal_groups, near_groups

FEWEST_EXAMPLES = 50
"""Below this, every example is worth more in training than in a validation of nine or less."""

_SHARE = 0.1
_FEWEST = 20
"""A comparison of fewer pairs rarely says anything, however large the difference."""

_LARGEST_SHARE = 0.2
_MOST = 200
"""As many tell a mean loss within some percent; more would only cost training data and time."""

_GROUPS_TO_BE_SHOWN = 5
"""A label of as many groups of prompts is to be among the held-out examples."""


def automatic_split(examples: int) -> float:
    """Share of the examples to hold out: none of less than 50.

    Else a tenth, but at least 20 examples where these are no more than a fifth, and at most 200.
    """
    if examples < FEWEST_EXAMPLES:
        return 0.0
    return min(max(_SHARE, min(_LARGEST_SHARE, _FEWEST / examples)), _MOST / examples)


@dataclass(frozen=True)
class HeldOut:
    """The examples that training is not to see.

    Attributes:
        rows: 0-based places of the examples.
        stratified: whether each answer has its share of them.
        near_apart: whether no near-duplicate of theirs is trained on either. Equal prompts never
            are on both sides.
    """

    rows: frozenset[int]
    stratified: bool = False
    near_apart: bool = True


@dataclass(frozen=True)
class Split:
    """Examples as what a split goes by: their columns, and prompts that occur within them.

    Attributes:
        table: a row for each example.
        earlier: inputs of learned answers before the last one, with the example's place.
    """

    table: Table
    earlier: list[tuple[int, str]]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Split:
        """Read what is needed of each of `examples`."""
        earlier: list[tuple[int, str]] = []

        def noting() -> Iterator[Example]:
            for place, example in enumerate(examples):
                earlier.extend((place, text) for text in _earlier_inputs(example))
                yield example

        return cls(Table.of(noting()), earlier)

    def held_out(self, share: float, seed: int) -> HeldOut:
        """The choice of `share` of the examples, the same for equal arguments.

        Examples whose prompts are equal or near-duplicates stay together, and an example stays with
        one within which its prompt is answered. Where near-duplicates tie so many examples together
        that less than half of what is wanted could be chosen, only equal prompts do.
        """
        inputs, answers = self.table.inputs, self.table.answers
        wanted = min(max(1, round(share * len(inputs))), len(inputs) - 1) if share else 0
        if wanted < 1:
            return HeldOut(frozenset())
        stratified = is_categorical(answers)
        labels = [""] * len(answers)
        if stratified:
            proper = proper_labels(answers)
            found = map(normalised_label, answers)
            labels = [label if label in proper else "" for label in found]  # strays are one label
        place = {text: row for row, text in enumerate(inputs)}
        within = [(row, place[text]) for row, text in self.earlier if text in place]
        equal = equal_groups(inputs, within)
        choice = _Choice(inputs, labels, near_groups(self.table, equal), wanted, seed).rows()
        if 2 * len(choice) >= wanted:
            return HeldOut(choice, stratified)
        loose = _Choice(inputs, labels, equal, wanted, seed).rows()
        if len(loose) > len(choice):
            return HeldOut(loose, stratified, near_apart=False)
        return HeldOut(choice, stratified)


def key_of(job_id: str) -> str:
    """Where a job's held-out examples lie."""
    return f"jobs/{job_id}/held-out.jsonl"


def store(storage: Storage, training_key: str, lines: Iterable[int], key: str) -> None:
    """Write the examples at `lines` of the user's file, in normal form, under `key`.

    Raises:
        DamagedExamples: the stored training examples are not what was written.
        ObjectNotFound: they were deleted.
    """
    wanted = set(lines)
    with storage.open_read(training_key) as stream, storage.writer(key) as writer:
        for example in read_normalised(stream):
            if example.line in wanted:
                writer.write(example.to_json())


def read_lines(storage: Storage, key: str) -> list[int]:
    """The lines, in the user's file, of the examples that `store` wrote under `key`.

    Raises:
        DamagedExamples: they are not what was written.
        ObjectNotFound: they were deleted.
    """
    with storage.open_read(key) as stream:
        return [example.line for example in read_normalised(stream)]


def _earlier_inputs(example: Example) -> list[str]:
    learned = [
        place
        for place, message in enumerate(example.messages)
        if message["role"] == "assistant" and message.get("weight", 1)
    ]
    if example.preferred is not None or len(learned) < 2:
        return []
    shorter = (replace(example, messages=example.messages[: end + 1]) for end in learned[:-1])
    return Table.of(shorter).inputs


class _Choice:
    """Whole groups, in an order by their texts and the seed, each label near its quota."""

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        groups: Sequence[int],
        wanted: int,
        seed: int,
    ) -> None:
        self._wanted = wanted
        self._total = Counter(labels)
        members: dict[int, list[int]] = {}
        for row, group in enumerate(groups):
            members.setdefault(group, []).append(row)
        self._groups = sorted(
            members.values(),
            key=lambda rows: (derived_seed(seed, "held-out", min(texts[r] for r in rows)), rows[0]),
        )
        self._counts = [Counter(labels[row] for row in rows) for rows in self._groups]
        groups_of = Counter(label for counts in self._counts for label in counts)
        self._shown = sorted(
            (label for label, count in groups_of.items() if count >= _GROUPS_TO_BE_SHOWN),
            key=lambda label: (self._total[label], label),
        )
        self._quota = _quotas(self._total, wanted, self._shown)
        self._have: Counter[str] = Counter()
        self._size = 0
        self._chosen: set[int] = set()

    def rows(self) -> frozenset[int]:
        """The choice."""
        self._show_each_label()
        for number, counts in enumerate(self._counts):
            if all(self._have[label] + n <= self._quota[label] for label, n in counts.items()):
                self._take(number)
        # What is left open by groups that did not fit: any group that brings it nearer.
        for number, counts in enumerate(self._counts):
            if self._size >= self._wanted:
                break
            nearer = sum(
                abs(self._have[label] - self._quota[label])
                - abs(self._have[label] + n - self._quota[label])
                for label, n in counts.items()
            )
            if nearer > 0:
                self._take(number)
        return frozenset(row for number in self._chosen for row in self._groups[number])

    def _show_each_label(self) -> None:
        if len(self._total) == 1:
            return
        by_label: dict[str, list[int]] = {}
        for number, counts in enumerate(self._counts):
            for label in counts:
                by_label.setdefault(label, []).append(number)
        for label in self._shown:
            if self._have[label]:
                continue
            for number in sorted(by_label[label], key=lambda n: len(self._groups[n])):
                if self._take(number):
                    break

    def _take(self, number: int) -> bool:
        """Choose a group, unless it is too large or the last of a label that is left to train."""
        counts, size = self._counts[number], len(self._groups[number])
        if (
            number in self._chosen
            or self._size + size > self._wanted
            or any(self._have[label] + n >= self._total[label] for label, n in counts.items())
        ):
            return False
        self._chosen.add(number)
        self._have += counts
        self._size += size
        return True


def _quotas(total: Counter[str], wanted: int, shown: Sequence[str]) -> Counter[str]:
    """How many of each label are wanted: by largest remainders, one at least of those `shown`."""
    rows = total.total()
    quotas = Counter({label: wanted * count // rows for label, count in total.items()})
    by_remainder = sorted(total, key=lambda label: (-(wanted * total[label] % rows), label))
    for label in by_remainder[: wanted - quotas.total()]:
        quotas[label] += 1
    for label in shown:
        largest = max(quotas, key=lambda each: (quotas[each], each))
        if not quotas[label] and quotas[largest] > 1:
            quotas[largest] -= 1
            quotas[label] = 1
    return quotas
