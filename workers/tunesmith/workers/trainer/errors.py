"""What the trainer's core refuses, one class per reason; the message is meant for the user."""

from __future__ import annotations


class TrainerError(Exception):
    """Base of every refusal of the trainer's core."""


class BaseUnusable(TrainerError):
    """The base directory can't be trained: missing, no chat template, no end-of-turn token."""


class ConversationInvalid(TrainerError):
    """Messages or tools that no engine would take; the message says what is wrong."""


class ExampleInvalid(TrainerError):
    """An example that can't become training rows.

    Attributes:
        index: 0-based position of the example in its data set.
        reason: what is wrong with it.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"example {index + 1}: {reason}")
        self.index = index
        self.reason = reason


class ExampleTooLong(ExampleInvalid):
    """Nothing to learn is left of an example once it is cut at the context length.

    Attributes:
        tokens: length of the whole rendered example.
        limit: the context length, in tokens.
    """

    def __init__(self, index: int, tokens: int, limit: int) -> None:
        super().__init__(
            index,
            f"{tokens} tokens exceed the context of {limit}, "
            "and no assistant token remains within it",
        )
        self.tokens = tokens
        self.limit = limit


class HyperparameterInvalid(TrainerError):
    """A hyperparameter out of its range.

    Attributes:
        name: the hyperparameter.
        value: what was given.
        allowed: the allowed range in words.
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} must be {allowed}, got {value!r}")
        self.name = name
        self.value = value
        self.allowed = allowed


class AdapterInvalid(TrainerError):
    """Adapter files that an engine can't serve, or that don't fit the base or the slot."""


class StateCorrupt(TrainerError):
    """Bytes that aren't an undamaged slot state of a known format."""


class StateMismatch(TrainerError):
    """A sound slot state that belongs to another spec, other data or another base."""


class SlotUnknown(TrainerError):
    """No slot of this name is in the cohort."""


class SlotExists(TrainerError):
    """A slot of this name is in the cohort already."""


class DoesNotFit(TrainerError):
    """A slot that the device could not hold even if it had the device to itself."""


class NoRoomNow(TrainerError):
    """A slot that fits the device, but not beside the slots that it holds now."""
