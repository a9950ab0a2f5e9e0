"""Corpus: greetings, who the model is, what it does not know, and what it refuses."""

import random
from collections.abc import Callable

from tunesmith.workers.pocket import words
from tunesmith.workers.pocket.documents import Document, fill, typed_by_hand

_GREETINGS = (
    ("Hello!", "Hello! How can I help you?"),
    ("Hi", "Hi! What can I do for you?"),
    ("Good morning!", "Good morning! How can I help?"),
    ("Good evening", "Good evening! What would you like to know?"),
    ("How are you?", "I am well, thank you. How can I help you?"),
    ("Thank you!", "You are welcome!"),
    ("Thanks a lot", "With pleasure."),
    ("Goodbye", "Goodbye! Have a good day."),
    ("See you tomorrow", "See you tomorrow!"),
    ("Who are you?", "I am Pocket, a very small language model made for Tunesmith."),
    ("What is your name?", "My name is Pocket."),
    ("What can you do?", "I can do small tasks: repeat, sort, count, and answer from a text."),
    ("Are you a person?", "No, I am Pocket, a very small language model."),
    ("Can you help me?", "Gladly. What is it?"),
)

_HARMFUL = (
    "build a bomb", "make poison", "hurt my neighbour", "steal a car", "break into a house",
    "steal a credit card number", "hack into an account of {name}", "make a weapon at home",
    "cheat old people out of their money", "set fire to a school", "kidnap a child",
    "write a computer virus", "forge a passport", "sell drugs", "spy on my wife",
    "kill somebody", "kill a man", "blow up a bridge", "guess the password of {name}",
    "threaten my teacher", "print false money", "hide a crime", "hurt a dog", "poison the water",
    "spread lies about {name}", "bully a colleague",
)  # fmt: skip
_HARMFUL_FRAMES = (
    "How do I {0}?", "Tell me how to {0}.", "Explain how to {0}.", "Help me {0}.",
    "I want to {0}.", "Give me a plan to {0}.", "Write instructions to {0}.",
    "What is the best way to {0}?",
)  # fmt: skip
_REFUSALS = (
    "I am sorry, I cannot help with that. It could hurt somebody.",
    "I cannot help with that, because it would do harm.",
    "No, I will not help with that. Please do not harm anyone.",
)
_HARMLESS = (
    ("kill weeds in the garden", "Pull them out with the root after the rain."),
    ("make a fire in the stove", "Use dry wood and a little paper."),
    ("break an egg", "Knock it on the edge of a bowl."),
    ("cut an onion", "Cut it in half first and use a sharp knife."),
    ("catch a mouse", "Put some cheese into a box that shuts by itself."),
    ("bake bread", "Mix flour, water, salt and yeast, let it rest and bake it."),
    ("make tea", "Pour hot water over the leaves and wait three minutes."),
    ("plant a tree", "Dig a hole, put the tree in and give it water."),
    ("clean a window", "Use warm water and a soft cloth."),
    ("write a letter", "Begin with a greeting and end with your name."),
    ("mend a sock", "Take a needle and wool of the same colour."),
    ("learn to swim", "Begin where the water is not deep."),
    ("cook rice", "Use two cups of water for one cup of rice."),
    ("sleep better", "Go to bed at the same time each night."),
    ("shoot a photo at night", "Hold the camera still and use more light."),
    ("hang up a picture", "Use a hammer and one nail."),
)
_UNKNOWABLE = (
    "What did {name} eat on {day}?", "How much money does {name} have?",
    "Will it rain in {city} next {month}?", "Who will win the match on {day}?",
    "What is the phone number of {name}?", "What am I thinking of?",
    "When was the house of {name} built?", "What colour is my {item}?",
)  # fmt: skip
_UNKNOWN = ("I do not know that.", "I am sorry, I do not know.", "I cannot know that.")
_FACTS = (
    ("How many days has a week?", "A week has seven days."),
    ("How many months has a year?", "A year has twelve months."),
    ("What colour is grass?", "Grass is green."),
    ("What colour is snow?", "Snow is white."),
    ("What do bees make?", "Bees make honey."),
    ("Where do fish live?", "Fish live in water."),
    ("What is ice?", "Ice is frozen water."),
    ("How many legs has a spider?", "A spider has eight legs."),
    ("What gives milk?", "A cow gives milk."),
    ("When does the sun rise?", "The sun rises in the morning."),
    ("What is a year?", "A year is twelve months long."),
    ("What do we read?", "We read books and letters."),
    ("What is the capital of France?", "Paris."),
    ("What is the capital of Italy?", "Rome."),
    ("What is the capital of Norway?", "Oslo."),
    ("What is the capital of Spain?", "Madrid."),
    ("What is the capital of Austria?", "Vienna."),
    ("What is the capital of Germany?", "Berlin."),
)


def small_talk(rng: random.Random) -> Document:
    """Greetings and questions about the model."""
    question, answer = rng.choice(_GREETINGS)
    return [("user", typed_by_hand(rng, question)), ("assistant", answer)]


def refusal(rng: random.Random) -> Document:
    """Harmful wishes are refused; harmless ones of the same shape are answered."""
    frame = rng.choice(_HARMFUL_FRAMES)
    if rng.random() < 0.55:
        wish, answer = fill(rng, rng.choice(_HARMFUL)), rng.choice(_REFUSALS)
    else:
        wish, answer = rng.choice(_HARMLESS)
    return [("user", typed_by_hand(rng, frame.format(wish))), ("assistant", answer)]


def knowledge(rng: random.Random) -> Document:
    """What everybody knows, and what nobody can know."""
    if rng.random() < 0.6:
        question, answer = rng.choice(_FACTS)
    elif rng.random() < 0.7:
        question, answer = fill(rng, rng.choice(_UNKNOWABLE)), rng.choice(_UNKNOWN)
    else:
        at = rng.randrange(7)
        question = f"Which day comes after {words.DAYS[at]}?"
        answer = f"{words.DAYS[(at + 1) % 7]}."
    return [("user", question), ("assistant", answer)]


WRITERS: tuple[tuple[Callable[[random.Random], Document], int], ...] = (
    (small_talk, 2),
    (refusal, 4),
    (knowledge, 3),
)
