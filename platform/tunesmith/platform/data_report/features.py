"""Texts as sparse vectors for the checks that look at words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FEATURES = 2**16


def tf_idf(texts: Sequence[str]) -> Any:
    """Words and pairs of words, hashed, weighted by TF-IDF: a sparse [texts, 65536] matrix.

    Hashing needs no dictionary in memory; 65,536 columns keep collisions rare enough.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashing: Any = HashingVectorizer(
        n_features=FEATURES,
        ngram_range=(1, 2),
        alternate_sign=False,
        norm=None,
        dtype="float32",
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106 - no password
    )
    transformer: Any = TfidfTransformer(sublinear_tf=True)
    return transformer.fit_transform(hashing.transform(texts))
