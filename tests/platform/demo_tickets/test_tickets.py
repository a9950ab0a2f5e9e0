"""The demo's task: enough tickets, made again byte for byte, and nothing shared between parts."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from tunesmith.platform.demo.tickets import LABELS, SYSTEM_PROMPT, held_out_path, train_path
from tunesmith.platform.demo.tickets.generator import (
    FILLERS,
    held_out_rows,
    tickets,
    to_csv,
    training_rows,
)
from tunesmith.platform.demo.tickets.held_out_templates import HELD_OUT
from tunesmith.platform.demo.tickets.templates import Templates
from tunesmith.platform.demo.tickets.training_templates import TRAINING


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _words(text: str) -> tuple[str, ...]:
    """The words of a sentence template; a slot is a word of its own."""
    return tuple(re.findall(r"[a-z']+|\{\w+\}", text.lower()))


def test_committed_files_are_what_the_generator_writes() -> None:
    assert train_path().read_bytes() == to_csv(training_rows())
    assert held_out_path().read_bytes() == to_csv(held_out_rows())


def test_sizes_and_balance() -> None:
    train, held_out = _read(train_path()), _read(held_out_path())
    assert len(LABELS) >= 6
    assert Counter(row["completion"] for row in train) == dict.fromkeys(LABELS, 120)
    assert Counter(row["completion"] for row in held_out) == dict.fromkeys(LABELS, 20)
    assert {row["system"] for row in train + held_out} == {SYSTEM_PROMPT}


def test_no_ticket_occurs_twice_or_in_both_parts() -> None:
    prompts = [row["prompt"] for path in (train_path(), held_out_path()) for row in _read(path)]
    assert len(set(prompts)) == len(prompts) == 1120


def test_no_sentence_template_is_shared_between_the_parts() -> None:
    train = {_words(sentence) for sentence in TRAINING.sentences()}
    held_out = {_words(sentence) for sentence in HELD_OUT.sentences()}
    assert len(train) == len(TRAINING.sentences())
    assert len(held_out) == len(HELD_OUT.sentences())
    assert not train & held_out


def test_held_out_problems_are_worded_anew() -> None:
    """No held-out problem is a training problem with a word or two exchanged."""

    def problems(templates: Templates) -> list[tuple[str, frozenset[str]]]:
        return [
            (text, frozenset(_words(text)))
            for group in templates.problems.values()
            for text in group
        ]

    close = [
        (held_out, train)
        for held_out, words in problems(HELD_OUT)
        for train, other in problems(TRAINING)
        if len(words & other) / len(words | other) > 0.6
    ]
    assert close == []


@pytest.mark.parametrize("templates", [TRAINING, HELD_OUT], ids=["train", "held-out"])
def test_templates_cover_every_queue_and_every_slot_has_fillers(templates: Templates) -> None:
    assert tuple(templates.problems) == tuple(templates.asides) == LABELS
    slots = {slot for text in templates.sentences() for slot in re.findall(r"\{(\w+)\}", text)}
    assert slots <= {*FILLERS, "order", "amount"}


def test_every_problem_template_of_a_part_is_used() -> None:
    for templates, rows in ((TRAINING, training_rows()), (HELD_OUT, held_out_rows())):
        per_label = Counter(label for _, label in rows)
        for label in LABELS:
            assert per_label[label] >= len(templates.problems[label])


def test_tickets_mention_words_of_other_queues() -> None:
    """Asides of other queues stand in many tickets, so that single words do not give them away."""
    asides = [
        _words(text)[:3] for group in TRAINING.asides.values() for text in group if "{" not in text
    ]
    with_aside = sum(
        any(" ".join(aside) in " ".join(_words(ticket)) for aside in asides)
        for ticket, _ in training_rows()
    )
    assert with_aside >= 100


def test_another_seed_gives_other_tickets() -> None:
    assert tickets(TRAINING, per_label=10, seed=1) == tickets(TRAINING, per_label=10, seed=1)
    assert tickets(TRAINING, per_label=10, seed=1) != tickets(TRAINING, per_label=10, seed=2)
