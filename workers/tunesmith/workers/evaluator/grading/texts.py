"""Answers that are texts: exact where they are short, by what they share where they are long."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .metric import Figure


class ExactMatch:
    """1 for the same text, spaces around it left out."""

    name = "exact match"
    kind = "exact"
    binary = True
    passes = 1.0

    def score(self, reference: str, answer: str) -> float:
        """Whether both say the same."""
        return float(" ".join(reference.split()) == " ".join(answer.split()))

    def figures(self, references: Sequence[str], answers: Sequence[str]) -> list[Figure]:
        """How alike they are, for those that are nearly right."""
        return [_mean("character similarity", fuzzy_match, references, answers)]


class FreeText:
    """chrF (Popović 2015): character n-grams that both texts share; language needs no rules."""

    name = "chrF"
    kind = "text"
    binary = False
    passes = 0.5

    def score(self, reference: str, answer: str) -> float:
        """The sentence's chrF, 0 to 1."""
        if not answer.strip():
            return 0.0
        return float(_chrf().sentence_score(answer, [reference]).score) / 100

    def figures(self, references: Sequence[str], answers: Sequence[str]) -> list[Figure]:
        """ROUGE-L and similarity by characters."""
        return [
            _mean("ROUGE-L", functools.partial(rouge, kind="rougeL"), references, answers),
            _mean("character similarity", fuzzy_match, references, answers),
        ]


def fuzzy_match(reference: str, answer: str) -> float:
    """Share of characters that both have in order (rapidfuzz's normalised indel similarity)."""
    from rapidfuzz import fuzz

    return float(fuzz.ratio(reference, answer)) / 100


def rouge(reference: str, answer: str, kind: str) -> float:
    """F-measure of ROUGE (Lin 2004): "rouge1" to "rouge5" for n-grams, "rougeL" for order.

    Our own: the packages for it have no wheel, or drop all but ASCII.
    """
    expected, given = _words(reference), _words(answer)
    if kind == "rougeL":
        from rapidfuzz.distance import LCSseq

        shared, sizes = LCSseq.similarity(expected, given), (len(expected), len(given))
    else:
        n = int(kind.removeprefix("rouge"))
        counts = [
            Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
            for words in (expected, given)
        ]
        shared = sum((counts[0] & counts[1]).values())
        sizes = (sum(counts[0].values()), sum(counts[1].values()))
    # 2PR / (P + R), with precision shared / given and recall shared / expected.
    return 2 * shared / sum(sizes) if shared else 0.0


def bleu(reference: str, answer: str) -> float:
    """The sentence's smoothed BLEU, 0 to 1."""
    import sacrebleu

    return float(sacrebleu.sentence_bleu(answer, [reference]).score) / 100


def gleu(reference: str, answer: str) -> float:
    """Google's BLEU for sentences (Wu et al. 2016): the lower of n-gram precision and recall."""
    counts = [_ngrams(text.split()) for text in (reference, answer)]
    shared = sum((counts[0] & counts[1]).values())
    largest = max(sum(count.values()) for count in counts)
    return shared / largest if largest else float(reference.split() == answer.split())


def _ngrams(words: list[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(words[start : start + n]) for n in (1, 2, 3, 4) for start in range(len(words) - n + 1)
    )


def _mean(name: str, measure: Any, references: Sequence[str], answers: Sequence[str]) -> Figure:
    scores = [measure(r, a) for r, a in zip(references, answers, strict=True)]
    return Figure(name, sum(scores) / len(scores))


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def _words(text: str) -> list[str]:
    """Words of any script."""
    return re.findall(r"\w+", text.casefold())
