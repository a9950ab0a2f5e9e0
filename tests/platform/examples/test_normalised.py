"""The form in which examples are kept, and properties of the whole way."""

from __future__ import annotations

import csv
import json
import re
from io import BytesIO, StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.examples import (
    DamagedExamples,
    Example,
    ExamplesError,
    check_examples,
    read_examples,
    read_normalised,
    write_normalised,
)

UNTIMED = settings(deadline=None)  # a busy machine is no failure

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
SAID = TEXT.filter(lambda text: bool(text.strip()))
CELL = st.one_of(SAID, st.text("\",;\t\r\n'\\ \ufeffé😀ab", min_size=1, max_size=12)).filter(
    lambda text: bool(text.strip())
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def chats(draw: st.DrawFn) -> tuple[dict[str, Any], Example]:
    """A row as a user may write it, and the example that it must become."""
    raw: list[dict[str, Any]] = []
    normal: list[dict[str, Any]] = []

    def say(message: dict[str, Any], **written: Any) -> None:
        normal.append(message)
        raw.append({**message, **written})

    for _ in range(draw(st.integers(0, 4))):
        role = draw(st.sampled_from(["system", "developer", "user", "assistant", "tool"]))
        if role == "tool":
            arguments = draw(st.dictionaries(TEXT, JSON, max_size=3))
            call = {
                "id": f"call_{len(raw)}",
                "type": "function",
                "function": {"name": draw(SAID), "arguments": json.dumps(arguments)},
            }
            silent = {"role": "assistant", "content": "", "tool_calls": [call]}
            say(silent, content=None)
            answer = {"role": "tool", "content": draw(TEXT), "tool_call_id": call["id"]}
            say(answer)
        elif role == "assistant":
            weight = draw(st.sampled_from([{}, {"weight": 0}, {"weight": 1}]))
            say({"role": role, "content": draw(SAID), **weight})
        else:
            parts = draw(st.lists(TEXT, min_size=1, max_size=3))
            written = [{"type": "text", "text": part} for part in parts]
            say({"role": role, "content": "\n".join(parts)}, content=written)
    say({"role": "assistant", "content": draw(SAID)})
    row: dict[str, Any] = {"messages": raw}
    tools = None
    if draw(st.booleans()):
        parameters = draw(st.dictionaries(TEXT, JSON, max_size=3))
        tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
        row["tools"] = tools
    return row, Example(1, normal, tools)


def normalise(data: bytes, filename: str) -> tuple[bytes, list[Example]]:
    out = BytesIO()
    write_normalised(BytesIO(data), filename, out)
    return out.getvalue(), list(read_normalised(BytesIO(out.getvalue())))


@UNTIMED
@given(st.lists(chats(), min_size=1, max_size=4), st.booleans(), st.booleans(), st.booleans())
def test_any_chat_comes_back(
    rows: list[tuple[dict[str, Any], Example]], bom: bool, crlf: bool, ascii_only: bool
) -> None:
    end = "\r\n" if crlf else "\n"
    text = end.join(json.dumps(row, ensure_ascii=ascii_only) for row, _ in rows)
    data = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    expected = [
        Example(line, example.messages, example.tools)
        for line, (_, example) in enumerate(rows, start=1)
    ]
    assert list(read_examples(BytesIO(data), "x")) == expected
    stored, kept = normalise(data, "x")
    assert kept == expected
    # Normal form is a valid upload of its own, and normalising it changes nothing.
    assert normalise(stored, "x") == (stored, kept)


@UNTIMED
@given(
    st.lists(st.tuples(CELL, CELL, TEXT), min_size=1, max_size=5),
    st.booleans(),
    st.booleans(),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(",;\t"),
)
def test_any_csv_comes_back(
    rows: list[tuple[str, str, str]], bom: bool, crlf: bool, quoting: Any, delimiter: str
) -> None:
    # With bare line feeds the writer leaves carriage returns unquoted, which is not valid CSV.
    quoting = quoting if crlf else csv.QUOTE_ALL
    out = StringIO()
    end = "\r\n" if crlf else "\n"
    writer = csv.writer(out, quoting=quoting, delimiter=delimiter, lineterminator=end)
    writer.writerows([("prompt", "completion", "system"), *rows])
    data = (b"\xef\xbb\xbf" if bom else b"") + out.getvalue().encode()
    expected = []
    for cells in rows:
        prompt, completion, system = (cell.replace("\r\n", "\n") for cell in cells)
        context = [{"role": "system", "content": system}] if system.strip() else []
        expected.append(
            [
                *context,
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": completion},
            ]
        )
    _, kept = normalise(data, "x.csv")
    assert [example.messages for example in kept] == expected


VALID = [
    b'{"messages":[{"role":"user","content":"a\\u00e9"},{"role":"assistant","content":"b"}]}\n' * 3,
    b'{"prompt":"a","completion":"b","n":[1.5,{"x":null}]}\r\n' * 3,
    'prompt,completion,system\n"é ""x""\ny",b,s\nc,"d"\n'.encode() * 2,
]


@UNTIMED
@given(
    st.sampled_from(VALID),
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.integers(0, 4),
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b'"', b"\n", b"\r", b"\0", b",", b"{", b"}", b"\\ud800", b"\xff"]),
            ),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["x.jsonl", "x.csv", "x"]),
)
def test_corruption_is_an_examples_error_or_an_example(
    data: bytes, edits: list[tuple[int, int, bytes]], filename: str
) -> None:
    for position, removed, added in edits:
        data = data[:position] + added + data[position + removed :]
    try:
        expected = list(read_examples(BytesIO(data), filename))
    except ExamplesError as refused:
        with pytest.raises(ExamplesError, match=re.escape(str(refused))):
            check_examples(BytesIO(data), filename)
    else:
        assert normalise(data, filename)[1] == expected


@UNTIMED
@given(st.binary(max_size=200), st.sampled_from(["x.jsonl", "x.csv", "x"]))
def test_noise_is_an_examples_error(data: bytes, filename: str) -> None:
    with pytest.raises(ExamplesError):
        check_examples(BytesIO(data), filename)


def test_canonical_line() -> None:
    out = BytesIO()
    summary = write_normalised(BytesIO("prompt,completion\n\né,b".encode()), "x.csv", out)
    assert summary.examples == 1
    assert out.getvalue().decode() == (
        '{"line":3,"messages":[{"role":"user","content":"é"},{"role":"assistant","content":"b"}]}\n'
    )


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"[1]\n",
        b'{"line":1}\n',
        b'{"line":1,"messages":[],"preferred":[]}\n',
        b'{"line":1,"messages":[]}',
        b"\xff\n",
        b"\n",
    ],
)
def test_damaged_storage_is_not_the_users_fault(damage: bytes) -> None:
    good = b'{"line":1,"messages":[]}\n'
    with pytest.raises(DamagedExamples, match="damaged at line"):
        list(read_normalised(BytesIO(good + damage)))
