"""JSONL as a file: lines, encodings, and JSON that is not quite JSON."""

from __future__ import annotations

from io import BytesIO

import pytest

from tunesmith.platform.examples import (
    MAXIMUM_EXAMPLE_BYTES,
    ExamplesError,
    FileFormat,
    check_examples,
    read_examples,
)

ROW = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}'
PAIR = b'{"prompt":"a","completion":"b"}'


def problems(data: bytes, filename: str = "rows.jsonl") -> list[str]:
    with pytest.raises(ExamplesError) as caught:
        check_examples(BytesIO(data), filename)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n\n", b"\xef\xbb\xbf\r\n \t\n"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_byte_order_mark_blank_lines_and_line_ends(start: bytes, end: bytes, last: bool) -> None:
    data = start + ROW + end + b"   " + end + ROW + (end if last else b"")
    first, second = read_examples(BytesIO(data), "x")
    blank = start.count(b"\n")
    assert (first.line, second.line) == (1 + blank, 3 + blank)
    assert first.messages == second.messages


def test_files_joined_with_their_byte_order_marks() -> None:
    joined = b"\xef\xbb\xbf" + ROW + b"\n\xef\xbb\xbf" + ROW
    assert check_examples(BytesIO(joined), "x").examples == 2


def test_summary() -> None:
    three = b'{"messages":[{"role":"user","content":"abc"},{"role":"assistant","content":"d"},'
    three += b'{"role":"assistant","content":"e","weight":0}]}'
    summary = check_examples(BytesIO(ROW + b"\n" + three), "x")
    assert summary.format is FileFormat.CHAT_JSONL
    assert (summary.examples, summary.messages, summary.learned) == (2, 5, 2)
    assert summary.characters == 7


@pytest.mark.parametrize(
    ("row", "system"),
    [
        (b'{"prompt":"a","completion":"b"}', None),
        (b'{"input":"a","output":"b","system":""}', None),
        (b'{"question":"a","answer":"b","system":null}', None),
        (b'{"Question ":"a","ANSWER":"b","system":"s","id":4}', "s"),
    ],
)
def test_pairs(row: bytes, system: str | None) -> None:
    (example,) = read_examples(BytesIO(row), "rows.jsonl")
    *context, user, answer = example.messages
    assert context == ([{"role": "system", "content": system}] if system else [])
    assert user == {"role": "user", "content": "a"}
    assert answer == {"role": "assistant", "content": "b"}
    assert check_examples(BytesIO(row), "x.csv").format is FileFormat.PAIR_JSONL


def test_every_problem_with_its_line() -> None:
    rows = [ROW] * 30
    rows[16] = b'{"messages": [}'
    rows[20] = b"[1, 2]"
    rows[24] = b'"text"'
    assert problems(b"\n".join(rows)) == [
        "line 17: broken JSON at column 15: expecting value. Each line must be one whole JSON"
        " object.",
        "line 21: each line must be a JSON object, and this one is a list.",
        "line 25: each line must be a JSON object, and this one is a string.",
    ]


def test_more_problems_than_shown() -> None:
    with pytest.raises(ExamplesError) as caught:
        check_examples(BytesIO(b'{"a": 1}\n' * 2500), "rows.jsonl")
    error = caught.value
    assert error.total == 2500
    assert [problem.line for problem in error.problems] == list(range(1, 11))
    assert error.message.startswith("rows.jsonl has 2,500 problems:\n  line 1: there are no")
    assert error.message.endswith("\n  and 2,490 more like these.")
    assert error.body()["error"]["param"] == "file"


def test_one_problem_is_one_sentence() -> None:
    with pytest.raises(ExamplesError) as caught:
        check_examples(BytesIO(ROW + b"\n{"), "rows.jsonl")
    assert str(caught.value).startswith("rows.jsonl, line 2: broken JSON at column 2: ")


def test_examples_before_a_problem_are_not_held_back() -> None:
    examples = read_examples(BytesIO(ROW + b"\n{\n" + ROW), "x")
    assert next(examples).line == 1
    with pytest.raises(ExamplesError, match="line 2"):
        next(examples)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b'{"prompt":"a","completion":NaN}', "NaN is not JSON"),
        (b'{"prompt":"a","completion":-Infinity}', "-Infinity is not JSON"),
        (b'{"prompt":"a","completion":"b","n":1e999}', "the number '1e999' is too large"),
        (b'{"prompt":"a","completion":"b","n":' + b"9" * 5000 + b"}", "thousands of digits"),
        (b'{"prompt":"a","completion":"b","prompt":"c"}', "the key 'prompt' occurs twice"),
        (b'{"prompt":"a","completion":"b","Prompt":"c"}', "the name prompt is given 2 times"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"prompt":"a\x00","completion":"b"}', "invalid control character"),
        (b'{"prompt":"a\\u0000","completion":"b"}', "U+0000"),
        (b'{"prompt":"a","completion":"\\udc00"}', "half of a surrogate pair"),
        (b'{"prompt":"a","completion":5}', "`completion` must be a string"),
        (b'{"prompt":"a","completion":"b","system":5}', "`system` must be a string"),
        (b'{"prompt":"","completion":"b"}', "the prompt is empty"),
        (b'{"Prompt":"a","completion":" \\n"}', "the completion is empty"),
        (b"{}", "the fields are: none"),
        (b'{"text":"a"}', "the fields are: 'text'"),
    ],
)
def test_wrong_rows(row: bytes, said: str) -> None:
    (problem,) = problems(row)
    assert problem.startswith("line 1: ")
    assert said in problem


def test_escaped_emoji_is_two_halves_that_make_a_character() -> None:
    data = b'{"prompt":"\\ud83d\\ude00","completion":"\\\\u0000"}'
    (example,) = read_examples(BytesIO(data), "x")
    assert [m["content"] for m in example.messages] == ["\N{GRINNING FACE}", "\\u0000"]


def test_not_utf8_names_line_and_byte() -> None:
    data = b"\xef\xbb\xbf" + ROW + b"\n" + b'{"prompt":"caf\xe9","completion":"b"}\n'
    (problem,) = problems(data)
    assert problem.startswith("line 2: not UTF-8: byte 0xe9 at offset 97 of the file.")
    assert data[97] == 0xE9
    assert "WINDOWS-1252" in problem


def test_utf16_is_recognised() -> None:
    (problem,) = problems(ROW.decode().encode("utf-16"))
    assert "it looks like UTF-16" in problem


def test_a_line_too_long_to_hold() -> None:
    data = ROW + b'\n{"prompt":"' + b"a" * MAXIMUM_EXAMPLE_BYTES + b'","completion":"b"}\n' + ROW
    (problem,) = problems(data)
    assert problem.startswith("line 2: the line is longer than 8 MiB")


def test_the_longest_line_is_read() -> None:
    shell = len(PAIR) - 1
    data = PAIR.replace(b'"a"', b'"' + b"a" * (MAXIMUM_EXAMPLE_BYTES - shell) + b'"')
    assert len(data) == MAXIMUM_EXAMPLE_BYTES
    assert check_examples(BytesIO(data + b"\n" + PAIR), "x").examples == 2


class Endless:
    """A stream of `rows` equal rows that never exist at once, in uneven pieces."""

    def __init__(self, row: bytes, rows: int) -> None:
        self.row = row
        self.left = rows * len(row)
        self.total = self.left

    def read(self, size: int, /) -> bytes:
        start = (self.total - self.left) % len(self.row)
        size = min(size, self.left, 777_777)
        self.left -= size
        return (self.row * (size // len(self.row) + 2))[start : start + size]


def test_memory_does_not_grow_with_the_file() -> None:
    import tracemalloc

    row = PAIR.replace(b'"a"', b'"' + b"word " * 4000 + b'"') + b"\n"
    stream = Endless(row, 2000)
    assert stream.total > 40_000_000
    tracemalloc.start()
    try:
        assert check_examples(stream, "x").examples == 2000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
