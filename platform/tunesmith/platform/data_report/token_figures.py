"""What the token counts of a file say: the distribution, what is cut, how long a job will take."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.platform.examples import Example

from .finding import Finding, Severity
from .tokens import TokenCounter

PERCENTILES = (5, 25, 50, 75, 95, 99)
_BARS = 20
_REFUSALS_KEPT = 1000


@dataclass(frozen=True)
class TokenFigures:
    """Tokens of all examples.

    Attributes:
        total: of one epoch.
        learned: of these, those that are learned.
        percentiles: percent -> tokens of an example before any cut; `minimum` to `maximum`.
        histogram: (from, to, examples), equally wide.
        context_length: most tokens in a row.
        epochs: passes over the data that the estimates are for.
        seconds, cost: of the job, None where the speed or the price is not known.
    """

    total: int
    learned: int
    minimum: int
    maximum: int
    mean: float
    percentiles: dict[str, int]
    histogram: list[tuple[int, int, int]]
    context_length: int
    truncated: int
    epochs: int
    trained: int
    seconds: float | None
    cost: float | None

    def as_json(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


class TokenTally:
    """Collects counts while examples pass by: 12 bytes an example."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._lines = array("q")
        self._longest = array("q")
        self._total = self._learned = 0
        self._truncated: list[int] = []
        self._nothing_left: list[int] = []
        self._refused: list[int] = []
        self._reason = ""

    def passing(self, examples: Iterable[Example]) -> Iterator[Example]:
        """The same examples, counted as they pass."""
        for example, counted in self._counter.counting(examples):
            self._lines.append(example.line)
            if counted.refused is not None:
                self._refused.append(example.line)
                self._reason = self._reason or counted.refused
            else:
                self._longest.append(counted.longest)
                self._total += counted.tokens
                self._learned += counted.learned
                if not counted.learned:
                    self._nothing_left.append(example.line)
                elif counted.truncated:
                    self._truncated.append(example.line)
            yield example

    def figures(
        self,
        epochs: int,
        seconds_per_token: float | None,
        price_per_hour: float | None,
    ) -> TokenFigures | None:
        """The figures; None where nothing could be counted."""
        import numpy as np

        if not self._longest:
            return None
        lengths = np.asarray(self._longest)
        edges = np.linspace(lengths.min(), lengths.max() + 1, _BARS + 1)
        counts, _ = np.histogram(lengths, edges)
        trained = self._total * epochs
        seconds = None if seconds_per_token is None else trained * seconds_per_token
        return TokenFigures(
            total=self._total,
            learned=self._learned,
            minimum=int(lengths.min()),
            maximum=int(lengths.max()),
            mean=float(lengths.mean()),
            percentiles={
                str(percent): int(np.percentile(lengths, percent, method="inverted_cdf"))
                for percent in PERCENTILES
            },
            histogram=[
                (int(edges[bar]), int(edges[bar + 1]), int(counts[bar])) for bar in range(_BARS)
            ],
            context_length=self._counter.context_length,
            truncated=len(self._truncated) + len(self._nothing_left),
            epochs=epochs,
            trained=trained,
            seconds=seconds,
            cost=(
                None
                if seconds is None or price_per_hour is None
                else seconds / 3600 * price_per_hour
            ),
        )

    def findings(self) -> list[Finding]:
        """What is cut, what has nothing left to learn, and what the chat template refuses."""
        limit = self._counter.context_length
        total = len(self._lines)
        found = []
        if self._truncated:
            found.append(
                Finding.of_rows(
                    "truncated",
                    Severity.WARNS,
                    self._truncated,
                    total,
                    message=f"{len(self._truncated):,} rows are longer than the base's"
                    f" {limit:,} tokens: their ends are cut off and not learned.",
                    advice="Shorten them, or choose a base with a longer context.",
                )
            )
        if self._nothing_left:
            found.append(
                Finding.of_rows(
                    "nothing_to_learn",
                    Severity.BLOCKS,
                    self._nothing_left,
                    total,
                    message=f"{len(self._nothing_left):,} rows have an input of {limit:,} tokens"
                    " or more: nothing of the answer is left to learn.",
                    advice="Shorten the inputs, remove the rows, or choose a base with a longer"
                    " context.",
                )
            )
        if self._refused:
            found.append(
                Finding.of_rows(
                    "template_refuses",
                    Severity.BLOCKS,
                    self._refused[:_REFUSALS_KEPT],
                    total,
                    message=f"The base's chat template refuses {len(self._refused):,} rows.",
                    advice="Change these conversations to what the base can be asked, or choose"
                    " another base.",
                    example=self._reason,
                )
            )
        return found
