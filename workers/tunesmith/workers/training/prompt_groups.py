"""Which prompts are equal or nearly so: such examples belong on one side of a split.

Two texts are near-duplicates when the sets of their words have a Jaccard similarity of at least
`SIMILAR`; words that more than a fifth of all texts have are left out, since what a system prompt
or a template puts everywhere says nothing about whether two texts are alike. Few texts are compared
pair by pair; of many, candidates are found by MinHash (Broder 1997) in bands, and verified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

SIMILAR = 0.7
"""One word of seven exchanged, or about one of four added."""

COMMON = 0.2
"""Share of the texts above which a word is one of the template, not of the text."""

COMPARED_IN_FULL = 2000
"""Texts, up to which all pairs are compared."""

_BANDS, _ROWS = 20, 4
"""A pair of similarity 0.7 shares a band with probability 1 - (1 - 0.7^4)^20 = 0.996."""

_NEIGHBOURS = 4
_CHUNK = 200_000
_SCRIPTS_WITHOUT_SPACES = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_SCRIPTS_WITHOUT_SPACES}]|[^\W{_SCRIPTS_WITHOUT_SPACES}]+")

_Array = npt.NDArray[Any]


def equal_groups(texts: Sequence[str], pairs: Sequence[tuple[int, int]] = ()) -> list[int]:
    """A group number for each text: equal texts have the same, and so has each of `pairs`."""
    first: dict[str, int] = {}
    links = [(first.setdefault(text, place), place) for place, text in enumerate(texts)]
    return _components(len(texts), np.array([*links, *pairs], dtype=np.int64).reshape(-1, 2))


def near_groups(texts: Sequence[str], equal: Sequence[int]) -> list[int]:
    """A group number for each text: `equal` groups, joined where texts are near-duplicates."""
    words = _word_sets(texts)
    keep = np.asarray(words.getnnz(axis=0)) <= max(1, COMMON * len(texts))
    words = words[:, keep]
    words.sort_indices()
    # Texts of the same words are one from here on.
    first: dict[bytes, int] = {}
    links = list(_first_of_each(equal))
    for place in range(len(texts)):
        row = words.indices[words.indptr[place] : words.indptr[place + 1]]
        if len(row):
            links.append((first.setdefault(row.tobytes(), place), place))
    unique = np.array(sorted(set(first.values())), dtype=np.int64)
    near = unique[_near_pairs(words[unique])]
    return _components(len(texts), np.concatenate([np.array(links, np.int64).reshape(-1, 2), near]))


def _first_of_each(groups: Sequence[int]) -> list[tuple[int, int]]:
    first: dict[int, int] = {}
    return [(first.setdefault(group, place), place) for place, group in enumerate(groups)]


def _word_sets(texts: Sequence[str]) -> Any:
    """A row for each text, a column for each word, 1 where the text has it."""
    numbers: dict[str, int] = {}
    indices: list[int] = []
    ends = [0]
    for text in texts:
        found = set(_WORD.findall(text.casefold()))
        indices.extend([numbers.setdefault(word, len(numbers)) for word in sorted(found)])
        ends.append(len(indices))
    return sparse.csr_matrix(
        (np.ones(len(indices), np.int32), indices, ends), shape=(len(texts), max(1, len(numbers)))
    )


def _near_pairs(words: Any) -> _Array:
    """Pairs of rows, shape (pairs, 2), whose similarity is high enough."""
    rows = words.shape[0]
    if rows < 2:
        return np.empty((0, 2), np.int64)
    sizes = np.diff(words.indptr)
    if rows <= COMPARED_IN_FULL:
        shared = sparse.triu(words @ words.T, k=1).tocoo()
        pairs = np.stack([shared.row, shared.col], axis=1).astype(np.int64)
        return pairs[_similar(shared.data, sizes, pairs)]
    candidates = _candidates(words)
    kept = []
    for start in range(0, len(candidates), _CHUNK):
        pairs = candidates[start : start + _CHUNK]
        both = words[pairs[:, 0]].multiply(words[pairs[:, 1]])
        kept.append(pairs[_similar(np.asarray(both.sum(axis=1)).ravel(), sizes, pairs)])
    return np.concatenate([np.empty((0, 2), np.int64), *kept])


def _similar(shared: _Array, sizes: _Array, pairs: _Array) -> _Array:
    union = sizes[pairs[:, 0]] + sizes[pairs[:, 1]] - shared
    return np.asarray(shared >= SIMILAR * union)


def _candidates(words: Any) -> _Array:
    """Pairs of rows, none of them empty, that agree in a whole band of their MinHashes."""
    rows, columns = words.shape
    random = np.random.default_rng(0)
    found = []
    for _ in range(_BANDS):
        band = np.zeros(rows, np.uint64)
        for _ in range(_ROWS):
            order = random.permutation(columns).astype(np.uint32)
            least = np.minimum.reduceat(order[words.indices], words.indptr[:-1])
            band = band * np.uint64(0x9E3779B97F4A7C15) + least  # odd: wraps, and mixes
            band ^= band >> np.uint64(29)
        # Each is compared with the next few of its bucket and with the bucket's first: what is
        # alike is joined by way of others, so that a large bucket need not be compared in full.
        by_band = np.argsort(band, kind="stable")
        band = band[by_band]
        for step in range(1, _NEIGHBOURS + 1):
            at = np.flatnonzero(band[step:] == band[:-step])
            found.append(by_band[at] * rows + by_band[at + step])
        starts = np.flatnonzero(np.r_[True, band[1:] != band[:-1]])
        leaders = np.repeat(by_band[starts], np.diff(np.r_[starts, rows]))
        others = leaders != by_band
        found.append(leaders[others] * rows + by_band[others])
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // rows, codes % rows], axis=1)


def _components(count: int, links: _Array) -> list[int]:
    graph = sparse.coo_matrix(
        (np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count)
    )
    return [int(group) for group in csgraph.connected_components(graph, directed=False)[1]]
