"""Parquet: pairs, preferences and chats, every problem with its row, bounded memory."""

from __future__ import annotations

import datetime
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tunesmith.platform.examples import (
    Example,
    ExamplesError,
    ExamplesKind,
    FileFormat,
    check_examples,
    parquet_footer,
    parquet_rows,
    read_examples,
)
from tunesmith.platform.examples.parquet_footer import row_groups


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    out = BytesIO()
    pl.DataFrame(columns, strict=False).write_parquet(out, **options)
    return out.getvalue()


class Pipe:
    """A stream that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, 1000))


def read(data: bytes) -> list[Example]:
    return list(read_examples(Pipe(data), "t.parquet"))


def problems(data: bytes) -> list[str]:
    with pytest.raises(ExamplesError) as error:
        read(data)
    return [str(problem) for problem in error.value.problems]


def test_pairs_are_read_with_their_rows() -> None:
    data = parquet(
        {
            "id": [1, 2, 3],
            "Input": ["a", "b\nc", "d"],
            "output": pl.Series(["yes", "no", "yes"], dtype=pl.Categorical),
            "system": [None, "Be brief.", ""],
        }
    )
    examples = read(data)
    assert [example.line for example in examples] == [1, 2, 3]
    assert [[m["content"] for m in example.messages] for example in examples] == [
        ["a", "yes"],
        ["Be brief.", "b\nc", "no"],
        ["d", "yes"],
    ]
    assert check_examples(BytesIO(data), "x").format is FileFormat.PAIR_PARQUET


def test_chats_are_lists_of_structs() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    rows = [
        [
            {"role": "user", "content": "hi", "tool_calls": None, "weight": None},
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": 1},
        ],
        [
            {"role": "user", "content": "ho", "tool_calls": None, "weight": None},
            {"role": "assistant", "content": "hey", "tool_calls": None, "weight": None},
        ],
    ]
    tools = [json.dumps([{"type": "function", "function": {"name": "f"}}]), None]
    data = parquet({"messages": rows, "tools": tools, "prompt": ["x", "y"]})
    first, second = read(data)
    assert first.messages[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [call],
        "weight": 1,
    }
    assert first.tools == [{"type": "function", "function": {"name": "f"}}]
    assert second.messages[1] == {"role": "assistant", "content": "hey"}
    assert second.tools is None
    assert check_examples(BytesIO(data), "x").format is FileFormat.CHAT_PARQUET


@pytest.mark.parametrize("form", ["openai", "columns", "conversational"])
def test_preferences(form: str) -> None:
    asked, good, bad = (
        [{"role": role, "content": text}]
        for role, text in (("user", "q"), ("assistant", "good"), ("assistant", "bad"))
    )
    columns: dict[str, dict[str, Any]] = {
        "openai": {
            "input": [{"messages": asked}],
            "preferred_output": [good],
            "non_preferred_output": [bad],
        },
        "columns": {"prompt": ["q"], "chosen": ["good"], "rejected": ["bad"]},
        "conversational": {"prompt": [asked], "chosen": [good], "rejected": [bad]},
    }
    data = parquet(columns[form])
    (example,) = read(data)
    assert (example.messages, example.preferred, example.rejected) == (asked, good, bad)
    summary = check_examples(BytesIO(data), "x")
    assert (summary.kind, summary.format) == (
        ExamplesKind.PREFERENCES,
        FileFormat.PREFERENCE_PARQUET,
    )


def test_all_problems_are_named_with_their_rows() -> None:
    said = problems(
        parquet({"prompt": ["a", None, "c", "d\0"], "completion": ["b", "x", "  ", "e"]})
    )
    assert [s.split(":")[0] for s in said] == ["line 2", "line 3", "line 4"]
    assert "the prompt is empty" in said[0]
    assert "the completion is empty" in said[1]
    assert "U+0000" in said[2]
    chats = [[{"role": "user", "content": "a"}], None, [{"role": "robot", "content": "a"}]]
    said = problems(parquet({"messages": chats}))
    assert said[0].startswith("line 1: there is no assistant message")
    assert said[1].startswith("line 2: `messages` must be a list, and it is")
    assert said[2].startswith("line 3: message 1 has the unknown role 'robot'")


GOOD = parquet({"prompt": ["a"] * 5000, "completion": [f"b{n}" for n in range(5000)]})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PAR1rest", "damaged"),
        (GOOD[:-9], "damaged"),
        (GOOD[: len(GOOD) // 2], "damaged"),
        (GOOD[:100] + bytes(200) + GOOD[300:], "damaged"),
        (GOOD[:-4] + b"PARE", "encrypted"),
        (b"PARE" + GOOD[4:-4] + b"PARE", "encrypted"),
        (parquet({"prompt": ["a"], "label": ["b"]}), "the columns are: 'prompt', 'label'"),
        (
            parquet({"prompt": ["a"], "completion": [1]}),
            "'completion' holds values of the type Int",
        ),
        (parquet({"prompt": [b"a"], "completion": ["b"]}), "'prompt' holds values of the type Bin"),
        (
            parquet({"messages": [[{"role": "user", "at": datetime.date(2024, 1, 1)}]]}),
            "'messages' holds values of the type List",
        ),
        (parquet({"prompt": ["a"], "Prompt": ["a"], "completion": ["b"]}), "is given 2 times"),
        (parquet({"messages": ["hello"]}), "line 1: `messages` is text that is no JSON"),
        (
            parquet(
                {
                    "prompt": pl.Series([], dtype=pl.String),
                    "completion": pl.Series([], dtype=pl.String),
                }
            ),
            "no rows",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(data: bytes, said: str) -> None:
    problem, *more = problems(data)
    assert said in problem
    assert not more


def test_several_row_groups_are_read_in_order() -> None:
    texts = [f"a{n}" for n in range(3500)]
    data = parquet({"prompt": texts, "completion": texts}, row_group_size=700)
    examples = read(data)
    assert [example.line for example in examples] == list(range(1, 3501))
    assert [example.messages[0]["content"] for example in examples] == texts


def test_a_footer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    texts = [f"{n:08}" * 50 for n in range(100)]
    path.write_bytes(parquet({"prompt": texts, "completion": ["b"] * 100}, row_group_size=40))
    groups = row_groups(path)
    assert [group.rows for group in groups] == [40, 40, 20]
    assert all(400 * group.rows < group.unpacked < 500 * group.rows + 500 for group in groups)


def test_a_row_group_that_bursts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "MAXIMUM_UNPACKED_BYTES", 2**20)
    data = parquet({"prompt": ["a" * 2**20, "b" * 2**20], "completion": ["b"] * 2})
    assert len(data) < 2**14
    (problem,) = problems(data)
    assert "smaller row groups" in problem


def test_a_footer_that_lies_is_found_out_by_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "MAXIMUM_UNPACKED_BYTES", 2**20)
    data = parquet({"prompt": ["a" * 2**20, "b" * 2**20], "completion": ["b"] * 2})
    length = int.from_bytes(data[-8:-4], "little")
    pages, footer, tail = data[: -8 - length], data[-8 - length : -8], data[-8:]
    # A number from 2**20 to 2**27 has four bytes here; 1, written as long, says the same as 1.
    lying = re.sub(rb"[\x80-\xff]{3}[\x01-\x7f]", b"\x82\x80\x80\x00", footer)
    assert lying != footer
    assert pl.read_parquet(BytesIO(pages + lying + tail)).height == 2
    (problem,) = problems(pages + lying + tail)
    assert "smaller row groups" in problem


def test_pages_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_footer, "_MAXIMUM_PAGES", 3)
    (problem,) = problems(parquet({"prompt": ["a"] * 9, "completion": ["b"] * 9}, row_group_size=3))
    assert "more than 3 pages" in problem


def test_a_file_on_disk_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "odd [1] *.parquet"
    path.write_bytes(GOOD)
    with path.open("rb") as stream:
        assert len(list(read_examples(stream, "x.csv"))) == 5000
    assert list(tmp_path.iterdir()) == [path]
