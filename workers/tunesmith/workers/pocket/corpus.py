"""The text that the pocket base is pre-trained on, written by this package from its own words.

Nothing is downloaded: `documents` draws from writers, functions that turn a random number
generator into a chat or a piece of running text.
"""

import random
from collections.abc import Iterator

from tunesmith.workers.pocket import counter, errands, manners
from tunesmith.workers.pocket.documents import Document

_SHARES = ((counter.WRITERS, 0.55), (errands.WRITERS, 0.35), (manners.WRITERS, 0.10))


def documents(seed: int) -> Iterator[Document]:
    """An endless stream of documents; the same seed gives the same stream."""
    rng = random.Random(seed)  # noqa: S311 - sample text, nothing secret
    writers, weights = [], []
    for group, share in _SHARES:
        total = sum(weight for _, weight in group)
        for writer, weight in group:
            writers.append(writer)
            weights.append(share * weight / total)
    while True:
        (writer,) = rng.choices(writers, weights)
        yield writer(rng)
