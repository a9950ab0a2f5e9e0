"""Texts encoded piece by piece have the tokens that they have as a whole."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tunesmith.platform.cli.check import base_directory
from tunesmith.platform.data_report.segments import SegmentEncoder

POCKET = Tokenizer.from_file(str(base_directory("pocket") / "tokenizer.json"))
SPECIAL = sorted(
    token.content for token in POCKET.get_added_tokens_decoder().values() if token.special
)


def whole(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def with_beginnings() -> Any:
    """A tokenizer that marks a text's very beginning, and nothing after a special token."""
    vocabulary = {"?": 0, "<s>": 1, "▁a": 2, "a": 3, "▁b": 4, "b": 5}
    tokenizer: Any = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.add_special_tokens(["<s>"])
    return tokenizer


@given(st.lists(st.lists(st.one_of(st.sampled_from(SPECIAL), st.text(max_size=20))), max_size=8))
def test_pieces_give_the_tokens_of_the_whole(parts: list[list[str]]) -> None:
    texts = list(dict.fromkeys("".join(part) for part in parts))
    found = SegmentEncoder(POCKET).encode(texts)
    assert found == {text: whole(POCKET, text) for text in texts}


def test_a_tokenizer_to_which_the_beginning_matters_gets_whole_texts() -> None:
    tokenizer = with_beginnings()
    apart = [*whole(tokenizer, "a"), 1, *whole(tokenizer, "a")]
    assert whole(tokenizer, "a<s>a") != apart
    encoder = SegmentEncoder(tokenizer)
    for texts in (["a<s>a", "b"], ["b<s>a", "a<s>b<s>a"]):
        assert encoder.encode(texts) == {text: whole(tokenizer, text) for text in texts}


def test_without_special_tokens_there_are_no_pieces() -> None:
    tokenizer: Any = Tokenizer(models.WordLevel({"?": 0, "a": 1}, unk_token="?"))
    assert SegmentEncoder(tokenizer).encode(["a", "b"]) == {"a": [1], "b": [0]}
