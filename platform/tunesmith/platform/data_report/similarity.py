"""Which texts are nearly the same: MinHash finds candidates, an edit distance decides.

MinHash with banding (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets",
chapter 3): 128 values in 32 bands of 4 find a pair with a Jaccard similarity of 0.5 in 87 % of
cases, of 0.6 in 99 %. Each candidate is then compared itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .normal_text import numbers_of, shared_beginning

SAME_ABOVE = 88.0
"""Normalised Indel similarity (rapidfuzz's `ratio`, 0 to 100) from which texts are nearly the same:
one word added or changed in ten, a typing error or two in a sentence."""

SHORTEST = 20
"""Characters: below that one different word is a different text."""

_PERMUTATIONS, _BANDS = 128, 32
_SEED = 42
_SHINGLE = 4  # characters
_LONGEST = 8000  # characters compared of a text: both its ends
_CHUNK = 500_000  # characters whose shingles are in memory at once
_ALL_PAIRS = 16  # texts of a bucket up to which every pair is compared
_NEIGHBOURS = 4  # in larger ones: texts that follow each other in order
_LIKELY = 0.4  # share of equal MinHash values from which texts are worth a comparison
_PAIRS_AT_ONCE = 200_000
_INSTRUCTED = 20  # texts, below which what they share is no instruction

Pairs = NDArray[np.int64]
"""[n, 2] positions of texts, the smaller one first."""


def similar_pairs(texts: Sequence[str]) -> Pairs:
    """Pairs of texts that are nearly the same and have the same numbers in them.

    What nearly all texts begin or end with, such as an instruction, is left out. Not every pair of
    a large group is listed, but enough to connect it.

    Args:
        texts: of words in one case (`words_of`), no two equal.
    """
    cut = [_ends(text) for text in _without_common_ends(texts)]
    places = np.asarray([p for p, text in enumerate(cut) if len(text) >= SHORTEST], dtype=np.int64)
    if len(places) < 2:
        return np.empty((0, 2), dtype=np.int64)
    compared = [cut[place] for place in places]
    del cut
    return places[_same(compared, _candidates(compared))]


def _without_common_ends(texts: Sequence[str]) -> list[str]:
    start = _common_beginning(texts)
    rest = [text.removeprefix(start) for text in texts]
    end = _common_beginning([text[::-1] for text in rest])[::-1]
    return [text.removesuffix(end) for text in rest]


def _common_beginning(texts: Sequence[str]) -> str:
    """The longest beginning that four fifths of the texts share; none of fewer than 20 texts."""
    if len(texts) < _INSTRUCTED:
        return ""
    ordered = sorted(texts)
    pairs = zip(ordered, ordered[len(ordered) * 4 // 5 :], strict=False)
    best = ""
    for first, last in pairs:  # everything between them shares what they share
        if first.startswith(best) and last.startswith(best):
            best = shared_beginning(first, last)
    return best


def _ends(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return text[: _LONGEST // 2] + text[-_LONGEST // 2 :]


def _candidates(texts: list[str]) -> Pairs:
    """Pairs that share a band and look alike by their MinHash values."""
    digests = _digests(texts)
    low_bytes = (digests & np.uint32(0xFF)).astype(np.uint8)
    ranks = (_ranks(texts), _ranks([text[::-1] for text in texts]))
    found = np.empty(0, dtype=np.int64)
    width = _PERMUTATIONS // _BANDS
    for band in range(_BANDS):
        values = digests[:, band * width : (band + 1) * width].astype(np.uint64)
        keys = values[:, 0]
        for column in range(1, width):
            keys = keys * np.uint64(0x9E3779B97F4A7C15) + values[:, column]
        codes = _bucket_mates(keys, ranks[band % 2])
        codes = np.setdiff1d(codes, found)
        found = np.union1d(found, codes[_alike(low_bytes, codes) >= _LIKELY])
    return np.stack(np.divmod(found, len(texts)), axis=1)


def _digests(texts: list[str]) -> NDArray[np.uint32]:
    """MinHash values of each text's shingles, [texts, permutations]."""
    from rensa import RMinHash

    digests = np.empty((len(texts), _PERMUTATIONS), dtype=np.uint32)
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and (size == 0 or size + len(texts[stop]) <= _CHUNK):
            size += len(texts[stop])
            stop += 1
        hashes, offsets = _shingle_hashes(texts[start:stop])
        matrix: Any = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets, _PERMUTATIONS, _SEED
        )
        digests[start:stop] = matrix.to_rows()
        start = stop
    return digests


def _shingle_hashes(texts: list[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes of all runs of `_SHINGLE` characters, and where each text's begin (and the end)."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    count = len(points) - _SHINGLE + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for shift in range(_SHINGLE):
        hashes = hashes * np.uint64(0x100000001B3) + points[shift : shift + count]
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    lengths = np.asarray([len(text) for text in texts], dtype=np.int64)
    ends = np.cumsum(lengths)
    inside = np.ones(len(points), dtype=bool)
    for shift in range(1, _SHINGLE):  # runs that would cross into the next text
        inside[ends - shift] = False
    offsets = np.concatenate([[0], np.cumsum(lengths - _SHINGLE + 1)]).astype(np.uint64)
    return hashes[inside[:count]], offsets


def _ranks(texts: list[str]) -> NDArray[np.int64]:
    order = np.asarray(sorted(range(len(texts)), key=texts.__getitem__), dtype=np.int64)
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[order] = np.arange(len(texts))
    return ranks


def _bucket_mates(keys: NDArray[np.uint64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs with equal keys, each as `smaller * n + larger`."""
    n = len(keys)
    order = np.lexsort((ranks, keys))
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.repeat(np.diff(np.append(starts, n)), np.diff(np.append(starts, n)))
    codes = []
    for distance in range(1, _ALL_PAIRS):
        mates = ordered[distance:] == ordered[:-distance]
        if distance > _NEIGHBOURS:
            mates &= sizes[:-distance] <= _ALL_PAIRS
        if not mates.any():
            break
        first, second = order[:-distance][mates], order[distance:][mates]
        codes.append(np.minimum(first, second) * n + np.maximum(first, second))
    return np.unique(np.concatenate(codes)) if codes else np.empty(0, dtype=np.int64)


def _alike(low_bytes: NDArray[np.uint8], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of equal MinHash values of each pair: its estimated Jaccard similarity."""
    shares = np.empty(len(codes))
    for start in range(0, len(codes), _PAIRS_AT_ONCE):
        first, second = np.divmod(codes[start : start + _PAIRS_AT_ONCE], len(low_bytes))
        equal = low_bytes[first] == low_bytes[second]
        shares[start : start + _PAIRS_AT_ONCE] = equal.mean(axis=1)
    return shares


def _same(texts: list[str], pairs: Pairs) -> Pairs:
    """The pairs whose texts really are nearly the same."""
    from rapidfuzz.fuzz import ratio
    from rapidfuzz.process import cpdist

    if not len(pairs):
        return pairs
    scores = cpdist(
        [texts[place] for place in pairs[:, 0]],
        [texts[place] for place in pairs[:, 1]],
        scorer=ratio,
        score_cutoff=SAME_ABOVE,
        workers=-1,
    )
    near: Pairs = pairs[scores >= SAME_ABOVE]
    same_numbers = [numbers_of(texts[a]) == numbers_of(texts[b]) for a, b in near]
    kept: Pairs = near[np.asarray(same_numbers, dtype=bool)]
    return kept


def connected(pairs: Pairs, count: int) -> list[list[int]]:
    """Groups of two or more positions of `count` that pairs connect, each ascending."""
    leaders = list(range(count))

    def leader(place: int) -> int:
        while leaders[place] != place:
            leaders[place] = leaders[leaders[place]]
            place = leaders[place]
        return place

    for first, second in pairs.tolist():
        one, other = leader(first), leader(second)
        leaders[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for place in sorted(set(pairs.ravel().tolist())):
        groups.setdefault(leader(place), []).append(place)
    return list(groups.values())
