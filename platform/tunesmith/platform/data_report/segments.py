"""Encoding many texts that share their pieces: each piece between two special tokens only once.

A tokenizer cuts a text at its special tokens before anything else, and encodes what lies between
by itself; chat templates put one around every message. So a prompt, the same prompt with its
answer, and the next row with the same system message share nearly all of their pieces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_TRIED = 64


class SegmentEncoder:
    """Encodes texts with a tokenizer of the `tokenizers` package, without adding special tokens.

    Some tokenizers treat a text's beginning, or what is beside a special token, in a way of its
    own. So the first texts are encoded as a whole as well, and all others where that differs.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._special = {token.content: number for number, token in added.items() if token.special}
        longest_first = sorted(self._special, key=len, reverse=True)
        self._cut = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self._whole = not self._special
        self._untried = _TRIED

    def encode(self, texts: Sequence[str]) -> dict[str, list[int]]:
        """Token ids of each of `texts`."""
        if self._whole:
            return self._encoded(texts)
        pieces = {text: [piece for piece in self._cut.split(text) if piece] for text in texts}
        unique = dict.fromkeys(
            piece for cut in pieces.values() for piece in cut if piece not in self._special
        )
        ids = self._encoded(list(unique)) | {name: [n] for name, n in self._special.items()}
        found = {
            text: [token for piece in cut for token in ids[piece]] for text, cut in pieces.items()
        }
        if self._untried > 0:
            tried = texts[: self._untried]
            self._untried -= len(tried)
            if any(found[text] != whole for text, whole in self._encoded(tried).items()):
                self._whole = True
                return self._encoded(texts)
        return found

    def _encoded(self, texts: Sequence[str]) -> dict[str, list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return {text: found.ids for text, found in zip(texts, encodings, strict=True)}
