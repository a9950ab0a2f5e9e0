"""Corpus: talk at a shop's counter, and reading tasks about what customers say.

The tasks ask for the matter of a message in its own words, and whether it is a trouble, a wish or
praise. None asks for the name of a field.
"""

import random
from collections.abc import Callable

from tunesmith.workers.pocket.documents import (
    Document,
    article,
    fill,
    listing,
    sentence,
    typed_by_hand,
)
from tunesmith.workers.pocket.shop import FIELDS, Field

_TROUBLE_FRAMES = (
    "So here is what happened: {0}.",
    "{0}, and I wonder what comes next.",
    "Can it be that {0}?",
    "{0}. Is that normal?",
    "I noticed that {0}.",
    "My brother says that {0}.",
    "Look, {0}.",
    "Again {0}!",
    "Why is it that {0}?",
    "{0}, what now?",
    "Apparently {0}.",
    "The problem: {0}.",
    "Luckily I saw it at once: {0}.",
    "I'm asking because {0}.",
    "For some days now {0}.",
    "Yesterday I saw that {0}.",
    "We find that {0}.",
    "It seems to me that {0}.",
    "{0}.",
    "{0}.",
    "{0}!",
    "{0}?",
)
_WISH_FRAMES = (
    "Help me {0}.",
    "Tell me how to {0}.",
    "How might one {0}?",
    "I am trying to {0}.",
    "My aim is to {0}.",
    "Would it be possible for me to {0}?",
    "I should like to {0}.",
    "Let me {0}.",
    "Is there a way to {0}?",
    "I am writing to ask how to {0}.",
    "We'd rather {0}.",
    "Could somebody explain how to {0}?",
    "I'm not able to {0}.",
    "We wish to {0}.",
    "May I {0}?",
    "It would be good to {0}.",
    "How do people {0}?",
    "I must {0}.",
    "All I want is to {0}.",
    "I want to {0}.",
    "Can you {0} for me?",
)
_FIRST_WORDS = (
    "Good day.",
    "Excuse me.",
    "Hello, this is {name}.",
    "Dear shop,",
    "Are you there?",
    "My name is {name}.",
    "I have something to ask.",
    "Listen.",
    "I am not pleased.",
    "I am in a hurry.",
    "You have order {number} of mine.",
    "{name} here.",
    "Just a short question to you.",
    "I hope that somebody reads this.",
    "Good afternoon to you all.",
    "I write because I need some support.",
    "I think it is quite urgent.",
    "Dear Madam,",
    "Dear Sir,",
    "Hey you,",
    "Greetings from {city}.",
    "Maybe somebody there can help.",
    "For the second time:",
    "I have a problem and no idea what to do.",
    "Sorry, but I have to ask.",
)
_LAST_WORDS = (
    "That is all.",
    "Thanks in advance.",
    "Regards, {name}",
    "Can you see to it?",
    "Bye, {name}",
    "Let me know.",
    "I count on you.",
    "It makes me angry.",
    "Yours, {name}",
    "Good bye.",
    "I have bought here for {days}.",
    "That is really annoying me.",
    "I am waiting.",
    "I am so disappointed.",
    "Sincerely, {name}",
    "Cheers from {name}",
    "Looking forward to a reply, {name}",
    "I hope for good news.",
    "This can't be acceptable.",
    "Many thanks, yours, {name}",
    "Please look into this.",
    "I need help.",
    "Warm wishes from {name}",
    "You can reach me by phone.",
    "Just so you know.",
)
_CALM_FRAMES = (
    "{0}.",
    "{0}, that much is true.",
    "It is not that: {0}.",
    "{0}, so that is fine.",
    "I must say that {0}.",
    "{0}, thank you for that.",
    "{0}, by the way.",
    "Luckily {0}.",
    "{0}, so this is about something else.",
    "I don't complain that {0}.",
    "Everything else is good: {0}.",
    "Otherwise {0}.",
    "{0}, and I like that.",
)
_MATTER_QUESTIONS = (
    "What is the matter?",
    "What does the customer need?",
    "Say in a few words what this is about.",
    "What is the point of the message?",
    "Which wish or trouble does the customer have?",
)
_BEGINNINGS = (
    "I see.",
    "I am sorry to hear that.",
    "Of course.",
    "Thank you for telling us.",
    "Certainly.",
    "Oh dear.",
    "I understand.",
    "Gladly.",
)


def _matter(rng: random.Random, field: Field) -> tuple[str, str]:
    """A sentence with a trouble or a wish of `field`, and the matter itself."""
    if rng.random() < 0.55:
        matter = fill(rng, rng.choice(field.troubles))
        frame = rng.choice(_TROUBLE_FRAMES)
    else:
        matter = fill(rng, rng.choice(field.wishes))
        frame = rng.choice(_WISH_FRAMES)
    text = frame.format(matter)
    return text[:1].upper() + text[1:], matter


def _calm(rng: random.Random, field: Field) -> str:
    text = rng.choice(_CALM_FRAMES).format(fill(rng, rng.choice(field.calm)))
    return text[:1].upper() + text[1:]


def message(rng: random.Random, field: Field) -> tuple[str, str]:
    """What a customer writes, and the matter in it; calm words on other fields distract."""
    text, matter = _matter(rng, field)
    sentences = [text]
    if rng.random() < 0.5:
        other = rng.choice([each for each in FIELDS if each is not field])
        sentences.insert(rng.randrange(2), _calm(rng, other))
    if rng.random() < 0.4:
        sentences.insert(0, fill(rng, rng.choice(_FIRST_WORDS)))
    if rng.random() < 0.4:
        sentences.append(fill(rng, rng.choice(_LAST_WORDS)))
    return typed_by_hand(rng, rng.choice((" ", " ", "\n")).join(sentences)), matter


def _reply(rng: random.Random, field: Field) -> str:
    return f"{rng.choice(_BEGINNINGS)} {fill(rng, rng.choice(field.replies))}"


def talk(rng: random.Random) -> Document:
    """A customer and a clerk."""
    field = rng.choice(FIELDS)
    turns = []
    if rng.random() < 0.4:
        turns.append(
            (
                "system",
                rng.choice(
                    (
                        "You work at the counter of a shop. Be friendly.",
                        "You are a clerk. Help the customer.",
                        "Answer the customer in a sentence or two.",
                    )
                ),
            )
        )
    turns += [("user", message(rng, field)[0]), ("assistant", _reply(rng, field))]
    if rng.random() < 0.25:
        other = rng.choice(FIELDS)
        turns += [("user", message(rng, other)[0]), ("assistant", _reply(rng, other))]
    if rng.random() < 0.15:
        turns += [
            ("user", rng.choice(("Thank you!", "Great, thanks.", "Very kind."))),
            ("assistant", rng.choice(("You are welcome!", "With pleasure."))),
        ]
    return turns


def matter_of_message(rng: random.Random) -> Document:
    """Find the matter among distracting words, and say it plainly."""
    text, matter = message(rng, rng.choice(FIELDS))
    question = rng.choice(_MATTER_QUESTIONS)
    answer = sentence(matter)
    if rng.random() < 0.5:
        return [("system", question), ("user", text), ("assistant", answer)]
    return [("user", f"{question}\n{text}"), ("assistant", answer)]


def kind_of_message(rng: random.Random) -> Document:
    """Tell trouble, wish and praise apart; this says nothing about the field."""
    field = rng.choice(FIELDS)
    kind = rng.choice(("trouble", "wish", "praise"))
    if kind == "trouble":
        text = rng.choice(_TROUBLE_FRAMES).format(fill(rng, rng.choice(field.troubles)))
    elif kind == "wish":
        text = rng.choice(_WISH_FRAMES).format(fill(rng, rng.choice(field.wishes)))
    else:
        text = _calm(rng, field)
    options = ["trouble", "wish", "praise"]
    rng.shuffle(options)
    request = rng.choice(
        (
            "What kind of message is this? Answer with one of: {0}.",
            "Answer with one of: {0}.",
            "Choose one of: {0}.",
        )
    ).format(", ".join(options))
    text = typed_by_hand(rng, text[:1].upper() + text[1:])
    if rng.random() < 0.6:
        return [("system", request), ("user", text), ("assistant", kind)]
    return [("user", f"{request}\n{text}"), ("assistant", kind)]


def words_that_go_together(rng: random.Random) -> Document:
    """Name things of one field."""
    field = rng.choice(FIELDS)
    things = [fill(rng, thing) for thing in rng.sample(field.things, 4)]
    question = rng.choice(
        ("Name three words that go with {0}.", "What has to do with {0}? Name three things.")
    )
    return [("user", question.format(things[0])), ("assistant", f"{listing(things[1:])}.")]


def explanation(rng: random.Random) -> Document:
    """A fact of a field, asked for or told."""
    field = rng.choice(FIELDS)
    facts = [fill(rng, fact) for fact in rng.sample(field.facts, 3)]
    thing = fill(rng, rng.choice(field.things))
    kind = rng.random()
    if kind < 0.4:
        first = facts[0].split(" ", 2)
        subject = " ".join(first[:2]).lower()
        return [("user", f"Tell me something about {subject}."), ("assistant", facts[0])]
    if kind < 0.7:
        return [
            ("user", f"What should one know about {article(thing)}?"),
            ("assistant", " ".join(facts[:2])),
        ]
    return " ".join(facts)


def story(rng: random.Random) -> Document:
    """Running text: somebody has a trouble or a wish, and the shop answers."""
    field = rng.choice(FIELDS)
    name = fill(rng, "{name}")
    things = [fill(rng, thing) for thing in rng.sample(field.things, 3)]
    other = rng.choice(FIELDS)
    lines = [
        rng.choice(
            (
                f"{name} wrote to the shop on {fill(rng, '{day}')}.",
                f"On {fill(rng, '{day}')} a letter from {name} came.",
                f"{name} called the shop in {fill(rng, '{month}')}.",
            )
        ),
        sentence(fill(rng, rng.choice(field.troubles))),
        f"{name} wanted to {fill(rng, rng.choice(field.wishes))}.",
    ]
    if rng.random() < 0.5:
        lines.append(f"Otherwise {fill(rng, rng.choice(other.calm))}.")
    lines.append(f'The clerk said: "{fill(rng, rng.choice(field.replies))}"')
    if rng.random() < 0.6:
        lines.append(f"They also spoke of the {things[0]}, the {things[1]} and the {things[2]}.")
    if rng.random() < 0.4:
        lines.append(fill(rng, rng.choice(field.facts)))
    return " ".join(lines)


def page_of_questions(rng: random.Random) -> Document:
    """Running text: the questions that customers often ask, with answers."""
    field = rng.choice(FIELDS)
    blocks = []
    for _ in range(rng.choice((2, 3, 4, 5))):
        if rng.random() < 0.5:
            question = f"What can I do if {fill(rng, rng.choice(field.troubles))}?"
        else:
            question = f"What if I wish to {fill(rng, rng.choice(field.wishes))}?"
        blocks.append(f"Question: {question}\nAnswer: {fill(rng, rng.choice(field.replies))}")
    return "\n".join(blocks)


def glossary(rng: random.Random) -> Document:
    """Running text: words that belong together."""
    field = rng.choice(FIELDS)
    things = [fill(rng, thing) for thing in rng.sample(field.things, rng.choice((4, 6, 8)))]
    return f"{', '.join(things)}."


WRITERS: tuple[tuple[Callable[[random.Random], Document], int], ...] = (
    (talk, 14),
    (matter_of_message, 11),
    (kind_of_message, 4),
    (words_that_go_together, 2),
    (explanation, 3),
    (story, 5),
    (page_of_questions, 4),
    (glossary, 2),
)
