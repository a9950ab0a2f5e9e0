"""What a split of the demo's tickets is made of: sentence templates, keyed by queue."""

from dataclasses import dataclass

LABELS = ("billing", "shipping", "returns", "account", "bugs", "orders", "privacy", "stock")

SYSTEM_PROMPT = (
    "Sort the ticket. Answer with one of: "
    "billing, shipping, returns, account, bugs, orders, privacy, stock."
)


@dataclass(frozen=True)
class Templates:
    """Sentences with `{slot}` places; `problems` decide the queue, the rest surrounds them.

    Attributes:
        problems: queue -> sentences that state what the customer wants.
        asides: queue -> sentences that use this queue's words and ask for nothing. A ticket
            takes them from queues other than its own, so that no single word gives it away.
        openers: greetings and introductions.
        closers: thanks, complaints and signatures.
    """

    problems: dict[str, tuple[str, ...]]
    asides: dict[str, tuple[str, ...]]
    openers: tuple[str, ...]
    closers: tuple[str, ...]

    def sentences(self) -> tuple[str, ...]:
        """Every sentence template of the split."""
        return (
            *(sentence for group in self.problems.values() for sentence in group),
            *(sentence for group in self.asides.values() for sentence in group),
            *self.openers,
            *self.closers,
        )
