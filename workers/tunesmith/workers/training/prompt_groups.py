"""Which prompts are equal or nearly so: such examples belong on one side of a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from tunesmith.platform.data_report.normal_text import words_of
from tunesmith.platform.data_report.similarity import similar_pairs
from tunesmith.platform.data_report.table import Table


def equal_groups(texts: Sequence[str], pairs: Iterable[tuple[int, int]] = ()) -> list[int]:
    """A group number for each text: equal texts have the same, and so has each of `pairs`."""
    return _components(len(texts), [*_links(texts), *pairs])


def near_groups(table: Table, equal: Sequence[int]) -> list[int]:
    """A group number for each row: `equal` groups, joined where the data report finds leakage.

    That is by the questions' words alone: the same, or nearly the same (`similar_pairs`).
    """
    first: dict[str, int] = {}
    links = list(_links(equal))
    for place, question in enumerate(table.questions):
        words = words_of(question)
        if words:
            links.append((first.setdefault(words, place), place))
    rows = list(first.values())
    links += [(rows[one], rows[other]) for one, other in similar_pairs(list(first)).tolist()]
    return _components(len(table), links)


def _links(values: Sequence[object]) -> Iterable[tuple[int, int]]:
    """Each place with the first one that has the same value."""
    first: dict[object, int] = {}
    return ((first.setdefault(value, place), place) for place, value in enumerate(values))


def _components(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = sparse.coo_matrix(
        (np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count)
    )
    return [int(group) for group in csgraph.connected_components(graph, directed=False)[1]]
