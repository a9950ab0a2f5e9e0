"""Renaming a CSV's columns on the client's side."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.examples import (
    ExamplesError,
    parse_column_options,
    read_examples,
    renamed_columns,
)

MAPPING = {"ticket": "prompt", "label": "completion"}


def rename(tmp_path: Path, data: bytes, mapping: dict[str, str]) -> bytes:
    path = tmp_path / "tickets.csv"
    path.write_bytes(data)
    with renamed_columns(path, mapping) as copy:
        assert copy.name == path.name
        result = copy.read_bytes()
    assert not copy.exists()
    assert path.read_bytes() == data
    return result


@pytest.mark.parametrize(
    ("data", "renamed"),
    [
        (b"id,ticket,label\n1,a,b\n", b"id,prompt,completion\n1,a,b\n"),
        (b"\xef\xbb\xbfticket;label\r\na;b\r\n", b"prompt;completion\r\na;b\r\n"),
        (b'"Ticket", LABEL \n"x\ny","q ""z"""\n', b'prompt,completion\n"x\ny","q ""z"""\n'),
        (b'ticket,label,"two\nlines"\na,b,c', b'prompt,completion,"two\nlines"\na,b,c'),
        (b"\n\nticket,label\n\xe9,b", b"prompt,completion\n\xe9,b"),  # the rest is not looked at
        (b"ticket,label", b"prompt,completion\n"),
    ],
)
def test_only_the_header_changes(tmp_path: Path, data: bytes, renamed: bytes) -> None:
    assert rename(tmp_path, data, MAPPING) == renamed


def test_columns_can_be_swapped(tmp_path: Path) -> None:
    swapped = {"prompt": "completion", "completion": "prompt"}
    assert rename(tmp_path, b"prompt,completion\na,b", swapped) == b"completion,prompt\na,b"


def test_the_copy_is_read_as_examples(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    path.write_bytes(b"text,why\n" + b"late parcel,delivery\n" * 50_000)
    mapping = {"text": "prompt", "why": "completion"}
    with renamed_columns(path, mapping) as copy, copy.open("rb") as stream:
        assert sum(1 for _ in read_examples(stream, copy.name)) == 50_000


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"ticket,kind\na,b", "no column 'label' to rename; the columns are: 'ticket', 'kind'"),
        (b"ticket;kind\na;b", "the columns are: 'ticket', 'kind'"),
        (b"", "the columns are: none"),
        (b"ticket,label,prompt\n", "there is a column named prompt already"),
        (b"\xfficket,label\n", "not UTF-8"),
        (b'ticket,"label', "never closed"),
    ],
)
def test_headers_that_do_not_fit(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ExamplesError) as caught:
        rename(tmp_path, data, MAPPING)
    assert said in str(caught.value)


def test_options() -> None:
    options = ["ticket = Prompt", "a=b=completion"]
    assert parse_column_options(options) == {"ticket": "prompt", "a=b": "completion"}


@pytest.mark.parametrize(
    "options",
    [["ticket"], ["=prompt"], ["ticket=text"], ["a=prompt", "b=prompt"], ["a=prompt", "a=input"]],
)
def test_wrong_options(options: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="--column"):
        parse_column_options(options)
