"""The corpus: the same on every run, and free of the demo's tickets and of their task."""

import itertools
import random
import re

from tunesmith.platform.demo.tickets import LABELS, SYSTEM_PROMPT
from tunesmith.platform.demo.tickets.generator import held_out_rows, training_rows
from tunesmith.platform.demo.tickets.held_out_templates import HELD_OUT
from tunesmith.platform.demo.tickets.training_templates import TRAINING
from tunesmith.workers.pocket import counter, errands, manners
from tunesmith.workers.pocket.corpus import documents
from tunesmith.workers.pocket.documents import Document

_SAMPLE = 20_000
_WINDOW = 6


def _texts(document: Document) -> list[str]:
    return [document] if isinstance(document, str) else [content for _, content in document]


def _windows(text: str) -> set[tuple[str, ...]]:
    """All runs of six words of `text`; a slot is no word of any text."""
    words = re.findall(r"[a-z']+|\{\w+\}", text.lower())
    return {tuple(words[at : at + _WINDOW]) for at in range(len(words) - _WINDOW + 1)}


def _sentences(text: str) -> set[tuple[str, ...]]:
    """The sentences of `text` as words, but for greetings and thanks of up to three."""
    parts = (re.findall(r"[a-z0-9']+", part) for part in re.split(r"[.!?\n]+", text.lower()))
    return {tuple(words) for words in parts if len(words) > 3}


def test_same_seed_same_documents() -> None:
    first = list(itertools.islice(documents(3), 500))
    assert first == list(itertools.islice(documents(3), 500))
    assert first != list(itertools.islice(documents(4), 500))


def test_no_sentence_of_a_ticket_is_in_the_corpus() -> None:
    """No sentence of any ticket, and no six words in a row of any template, are pre-trained on."""
    templates = (*TRAINING.sentences(), *HELD_OUT.sentences())
    tickets = [text for text, _ in training_rows() + held_out_rows()]
    windows = set().union(*(_windows(text) for text in templates))
    sentences = set().union(*(_sentences(text) for text in tickets))
    assert len(windows) > 500
    assert len(sentences) > 600
    shared: set[tuple[str, ...]] = set()
    for document in itertools.islice(documents(20), _SAMPLE):
        for text in _texts(document):
            shared |= _windows(text) & windows
            shared |= _sentences(text) & sentences
    assert shared == set()


def test_the_ticket_task_is_not_in_the_corpus() -> None:
    """No assistant answers with a queue's name, and nobody is asked to sort into the queues."""
    answers = set()
    for document in itertools.islice(documents(20), _SAMPLE):
        assert not any(SYSTEM_PROMPT in text for text in _texts(document))
        if isinstance(document, list):
            answers |= {content for role, content in document if role == "assistant"}
    assert not answers & {*LABELS, *(label.capitalize() for label in LABELS)}


def test_every_writer_writes() -> None:
    rng = random.Random(0)
    for writer, weight in (*counter.WRITERS, *errands.WRITERS, *manners.WRITERS):
        assert weight > 0
        for _ in range(300):
            document = writer(rng)
            assert all(text.strip() and "{" not in text for text in _texts(document)), document
            if isinstance(document, list):
                roles = [role for role, _ in document if role != "system"]
                assert roles == ["user", "assistant"] * (len(roles) // 2)
