"""Corpus: small tasks that an assistant is given, with their exact answers."""

import random
from collections.abc import Callable

from tunesmith.workers.pocket import words
from tunesmith.workers.pocket.documents import (
    Document,
    Turn,
    another,
    article,
    fill,
    listing,
    mistype,
    sentence,
)

_SYSTEMS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "Be short and exact.",
    "You are Pocket. Answer the question.",
)


def _chat(rng: random.Random, question: str, answer: str) -> Document:
    turns: list[Turn] = [("user", question), ("assistant", answer)]
    if rng.random() < 0.25:
        turns.insert(0, ("system", rng.choice(_SYSTEMS)))
    return turns


def _instruct(rng: random.Random, instruction: str, text: str, answer: str) -> Document:
    """The instruction as a system prompt, or before or behind the text."""
    place = rng.random()
    if place < 0.4:
        return [("system", instruction), ("user", text), ("assistant", answer)]
    question = f"{instruction}\n{text}" if place < 0.8 else f"{text}\n{instruction}"
    return [("user", question), ("assistant", answer)]


def any_word(rng: random.Random) -> str:
    """A word of everyday life."""
    return rng.choice(words.TOPICS[rng.choice(tuple(words.TOPICS))])


def happening(rng: random.Random, topic: str) -> str:
    """A clause about a topic."""
    first, second = rng.sample(words.TOPICS[topic], 2)
    return rng.choice(words.HAPPENINGS[topic]).format(first, second)


def any_sentence(rng: random.Random) -> str:
    """A sentence about anything."""
    return sentence(happening(rng, rng.choice(tuple(words.TOPICS))))


def repeat(rng: random.Random) -> Document:
    """Say the same again, or only a part of it."""
    kind = rng.randrange(3)
    if kind == 0:
        text = any_sentence(rng)
    elif kind == 1:
        text = any_word(rng)
    else:
        text = " ".join(any_word(rng) for _ in range(rng.randrange(2, 6)))
    request = rng.choice(("Repeat: {0}", "Say: {0}", "Repeat after me: {0}", "Write this: {0}"))
    return _chat(rng, request.format(text), text)


def place_of_word(rng: random.Random) -> Document:
    """The first, second or last word of a list or of a sentence."""
    if rng.random() < 0.5:
        items = [any_word(rng).split(" ")[0] for _ in range(rng.choice((3, 4, 5)))]
        text = ", ".join(items)
    else:
        text = any_sentence(rng).rstrip(".")
        items = text.split(" ")
    which, at = rng.choice((("first", 0), ("last", -1), ("second", 1), ("first", 0), ("last", -1)))
    return _instruct(rng, f"Give the {which} word.", text, items[at])


def first_letter(rng: random.Random) -> Document:
    """The letter that a word starts with."""
    word = any_word(rng).split(" ")[0]
    return _chat(rng, f"Which letter does {word} start with?", word[0])


def count(rng: random.Random) -> Document:
    """How many words a list has."""
    items = [any_word(rng) for _ in range(rng.randrange(1, 8))]
    question = f"How many things are these: {', '.join(items)}?"
    return _chat(rng, question, sentence(words.NUMBER_WORDS[len(items)]))


def arithmetic(rng: random.Random) -> Document:
    """Sums, differences and comparisons of numbers up to ten."""
    left, right = rng.randrange(0, 11), rng.randrange(0, 11)
    kind = rng.randrange(3)
    if kind == 0:
        question = rng.choice(("What is {0} + {1}?", "{0} plus {1}?", "Add {0} and {1}."))
        return _chat(rng, question.format(left, right), str(left + right))
    if kind == 1:
        left, right = max(left, right), min(left, right)
        question = rng.choice(("What is {0} - {1}?", "{0} minus {1}?"))
        return _chat(rng, question.format(left, right), str(left - right))
    while left == right:
        right = rng.randrange(0, 11)
    return _chat(rng, f"Which is larger, {left} or {right}?", str(max(left, right)))


def fact_in_context(rng: random.Random) -> Document:
    """An answer that stands in the text before the question."""
    people = rng.sample(words.NAMES, rng.choice((1, 2, 3)))
    kind = rng.randrange(4)
    if kind == 0:
        values = [rng.choice(words.CITIES) for _ in people]
        facts = [f"{name} lives in {value}." for name, value in zip(people, values, strict=True)]
        question = "Where does {0} live?"
    elif kind == 1:
        values = [rng.choice(words.TOPICS["colours"]) for _ in people]
        item = rng.choice(words.ITEMS)
        facts = [f"The {item} of {n} is {v}." for n, v in zip(people, values, strict=True)]
        question = f"Which colour is the {item} of {{0}}?"
    elif kind == 2:
        values = [str(rng.randrange(3, 90)) for _ in people]
        facts = [
            f"{name} is {value} years old." for name, value in zip(people, values, strict=True)
        ]
        question = "How old is {0}?"
    else:
        values = [rng.choice(words.ITEMS) for _ in people]
        facts = [f"{n} bought {article(v)}." for n, v in zip(people, values, strict=True)]
        question = "What did {0} buy?"
    if rng.random() < 0.4:
        facts.insert(rng.randrange(len(facts) + 1), any_sentence(rng))
    at = rng.randrange(len(people))
    text = f"{' '.join(facts)} {question.format(people[at])}"
    return _chat(rng, text, sentence(values[at]))


def find_in_text(rng: random.Random) -> Document:
    """Take a number, a day, a place or a sum out of a text."""
    number, day, city = fill(rng, "{number}"), fill(rng, "{day}"), fill(rng, "{city}")
    amount, name = fill(rng, "{amount}"), fill(rng, "{name}")
    text = rng.choice(
        (
            "{name} came to {city} on {day} with {amount} and ticket {number}.",
            "Ticket {number}, {city}, {day}. Paid by {name}: {amount}.",
            "On {day} {name} paid {amount} for ticket {number} to {city}.",
        )
    ).format(name=name, city=city, day=day, amount=amount, number=number)
    question, answer = rng.choice(
        (
            ("What is the number of the ticket?", number),
            ("On which day was it?", day),
            ("Which city is named?", city),
            ("How much was paid?", amount),
            ("Who is it about?", name),
        )
    )
    return _instruct(rng, question, text, answer)


def related_words(rng: random.Random) -> Document:
    """Words of the same topic, or the topic that a word belongs to."""
    topic = rng.choice(tuple(words.TOPICS))
    three = rng.sample(words.TOPICS[topic], 3)
    kind = rng.randrange(3)
    if kind == 0:
        return _chat(rng, f"Name three {topic}.", sentence(listing(three)))
    if kind == 1:
        return _chat(rng, f"Which word goes with {three[0]} and {three[1]}?", sentence(three[2]))
    options = [topic, another(rng, tuple(words.TOPICS), topic)]
    rng.shuffle(options)
    question = f"Does {three[0]} belong to {options[0]} or {options[1]}?"
    return _chat(rng, question, sentence(topic))


def choose_one(rng: random.Random) -> Document:
    """Choose among given words what a sentence is about; the topics are everyday ones."""
    topics = rng.sample(tuple(words.TOPICS), rng.randrange(2, 9))
    topic = rng.choice(topics)
    text = any_word(rng) if rng.random() < 0.2 else ""
    text = sentence(happening(rng, topic)) if not text else rng.choice(words.TOPICS[topic])
    if rng.random() < 0.3:
        text = f"{text} {sentence(happening(rng, topic))}"
    instruction = rng.choice(
        (
            "What is this about? Answer with one of: {0}.",
            "Choose one of: {0}.",
            "Pick the word that fits: {0}.",
            "Sort this. Answer with one of: {0}.",
            "Which one is it: {0}?",
        )
    ).format(", ".join(topics))
    return _instruct(rng, instruction, text, topic)


def opposite(rng: random.Random) -> Document:
    """Opposites and words of the same meaning."""
    if rng.random() < 0.5:
        pair = list(rng.choice(words.OPPOSITES))
        rng.shuffle(pair)
        question = rng.choice(("What is the opposite of {0}?", "Name the opposite: {0}"))
        return _chat(rng, question.format(pair[0]), sentence(pair[1]))
    first, second = rng.choice(words.SAME_MEANING)
    if rng.random() < 0.5:
        first, second = second, first
    question = rng.choice(("What means the same as {0}?", "Another word for {0}?"))
    return _chat(rng, question.format(first), sentence(second))


def spelling(rng: random.Random) -> Document:
    """Mend a mistyped sentence."""
    text = any_sentence(rng)
    wrong = mistype(rng, mistype(rng, text) if rng.random() < 0.5 else text)
    instruction = rng.choice(("Correct the spelling.", "Mend the mistakes.", "Write it correctly."))
    return _instruct(rng, instruction, wrong, text)


def bullets(rng: random.Random) -> Document:
    """A list, one line for each thing."""
    items = [any_word(rng) for _ in range(rng.choice((2, 3, 4)))]
    return _instruct(rng, "Make a list.", listing(items), "\n".join(f"- {item}" for item in items))


def what_went_wrong(rng: random.Random) -> Document:
    """Tell what is wrong from what is fine, in everyday things."""
    good, bad = (rng.choice(words.ITEMS) for _ in range(2))
    praise = rng.choice(("is fine", "works well", "is lovely", "was no trouble", "came in time"))
    blame = rng.choice(("is broken", "is too small", "is lost", "does not work", "came late"))
    parts = [f"The {good} {praise}.", f"The {bad} {blame}."]
    if rng.random() < 0.5:
        parts.reverse()
    question = rng.choice(("What is wrong?", "What went wrong?", "What is the trouble?"))
    return _instruct(rng, question, " ".join(parts), f"The {bad} {blame}.")


def diary(rng: random.Random) -> Document:
    """Running text about a day."""
    topics = rng.sample(tuple(words.TOPICS), rng.choice((1, 2, 3)))
    lines = [f"It was {fill(rng, '{day}')} in {fill(rng, '{city}')}."]
    lines += [sentence(happening(rng, rng.choice(topics))) for _ in range(rng.randrange(2, 6))]
    return " ".join(lines)


WRITERS: tuple[tuple[Callable[[random.Random], Document], int], ...] = (
    (repeat, 8),
    (place_of_word, 5),
    (first_letter, 1),
    (count, 1),
    (arithmetic, 4),
    (fact_in_context, 8),
    (find_in_text, 5),
    (related_words, 3),
    (choose_one, 6),
    (opposite, 3),
    (spelling, 2),
    (bullets, 2),
    (what_went_wrong, 3),
    (diary, 2),
)
