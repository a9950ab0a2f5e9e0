"""CSV: headers, cells, and the line that a wrong row is found on."""

from __future__ import annotations

import csv
from io import BytesIO

import pytest

from tunesmith.platform.examples import (
    MAXIMUM_EXAMPLE_BYTES,
    Example,
    ExamplesError,
    FileFormat,
    check_examples,
    read_examples,
)


def read(data: str | bytes, filename: str = "tickets.csv") -> list[Example]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_examples(BytesIO(raw), filename))


def contents(data: str | bytes) -> list[list[str]]:
    return [[message["content"] for message in example.messages] for example in read(data)]


def problems(data: str | bytes, filename: str = "tickets.csv") -> list[str]:
    with pytest.raises(ExamplesError) as caught:
        read(data, filename)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "header",
    [
        "prompt,completion",
        "input,output",
        "question,answer",
        " Prompt , COMPLETION",
        '"prompt",completion',
    ],
)
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_headers(header: str, bom: str, end: str) -> None:
    examples = read(f"{bom}{header}{end}a,b{end}{end}c,d")
    assert [e.line for e in examples] == [2, 4]
    assert examples[0].messages == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


@pytest.mark.parametrize("filename", ["x.csv", "x.txt", "x", "x.jsonl"])
def test_content_says_that_it_is_csv(filename: str) -> None:
    summary = check_examples(BytesIO(b"answer,question\nb,a"), filename)
    assert summary.format is FileFormat.PAIR_CSV
    assert (summary.examples, summary.messages, summary.learned) == (1, 2, 1)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(delimiter: str) -> None:
    assert contents("id|prompt|completion\n1|a,b|c".replace("|", delimiter)) == [["a,b", "c"]]


def test_first_accepted_pair_wins_and_other_columns_are_left_out() -> None:
    assert contents("id,question,prompt,answer,completion\n1,q,p,a,c") == [["p", "c"]]


def test_system_column() -> None:
    data = "prompt,completion,System\na,b,Be kind.\nc,d,\ne,f,  \n"
    assert contents(data) == [["Be kind.", "a", "b"], ["c", "d"], ["e", "f"]]


def test_quotes_delimiters_and_newlines_inside_cells() -> None:
    data = 'prompt,completion\n"He said ""no"", twice\nand left",x\n  y  ,"z"\n'
    assert contents(data) == [['He said "no", twice\nand left', "x"], ["  y  ", "z"]]


def test_windows_line_ends_inside_cells_are_the_files_own() -> None:
    assert contents('prompt,completion\r\n"a\r\nb","c\rd"\r\n') == [["a\nb", "c\rd"]]


def test_line_numbers_are_those_on_which_rows_start() -> None:
    data = '\n\n"prompt","completion"\n"a\nb\nc",x\n\n"d\ne",y\nf,\n"g\n",\n'
    with pytest.raises(ExamplesError) as caught:
        read(data)
    assert [p.line for p in caught.value.problems] == [10, 11]
    good = data.replace("f,", "f,f").replace(",\n", ",z\n")
    assert [e.line for e in read(good)] == [4, 8, 10, 11]


def test_rows_of_empty_cells_are_blank() -> None:
    assert contents("prompt,completion\na,b\n,\n , \n,,,\n\nc,d\n") == [["a", "b"], ["c", "d"]]


def test_long_cells_are_read() -> None:
    assert MAXIMUM_EXAMPLE_BYTES > 500_000 > 131_072  # the csv module's own limit
    assert len(contents(f"prompt,completion\n{'a' * 500_000},b")[0][0]) == 500_000


def test_the_csv_modules_limit_is_never_lowered() -> None:
    before = csv.field_size_limit(MAXIMUM_EXAMPLE_BYTES * 2)
    try:
        read("prompt,completion\na,b")
        assert csv.field_size_limit() == MAXIMUM_EXAMPLE_BYTES * 2
    finally:
        csv.field_size_limit(before)


def test_missing_column_says_what_is_there_and_what_to_do() -> None:
    (problem,) = problems("ticket,category\na,b\n")
    assert problem.startswith(
        "line 1: the header names no prompt/completion or input/output or question/answer or"
        " prompt/chosen/rejected; its columns are: 'ticket', 'category'."
    )
    assert "`tunesmith files upload FILE --column OLD=prompt --column OTHER=completion`" in problem


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("prompt;category\na;b", ["line 1: the header names no", "'prompt', 'category'"]),
        ("prompt,completion,Prompt\na,b,c", ["line 1: the name prompt is given 2 times"]),
        (",,\n,\n", ["the file has empty cells alone"]),
        ("prompt,completion\n", ["the file has a header and no rows"]),
        ("prompt,completion\n,\n\n", ["the file has a header and no rows"]),
        ("prompt,completion\na\n", ["line 2: the row has 1 cell and the header 2 cells"]),
        ("prompt,completion\na,b\na,b,c\n", ["line 3: the row has 3 cells", "holds a comma"]),
        ("prompt;completion\na;b;c\n", ["line 2: the row has 3 cells", "holds a semicolon"]),
        ("prompt,completion\n,b\n", ["line 2: the prompt is empty. Fill it in or remove"]),
        ("Question,Answer\na, \n", ["line 2: the Answer is empty"]),
        ('prompt,completion\na,b\n"c\nd,e\n', ["line 3: a quote that is opened in the row"]),
        ('prompt,completion\na,"b" c\n', ["line 2: text follows the closing quote of a cell"]),
        ("prompt,completion\na,b\0\n", ["line 2: the line holds a NUL byte"]),
        ("prompt,completion\ra,b\r", ["line 1: the row holds a bare carriage return"]),
    ],
)
def test_wrong_files(data: str, expected: list[str]) -> None:
    (problem,) = problems(data)
    for words in expected:
        assert words in problem


def test_a_row_that_swallows_the_file() -> None:
    data = 'prompt,completion\na,b\n"c' + "d,e\n" * (MAXIMUM_EXAMPLE_BYTES // 4)
    (problem,) = problems(data)
    assert problem.startswith("line 3: the row that starts here is longer than 8 MiB: most likely")


def test_not_utf8() -> None:
    (problem,) = problems("prompt,completion\ncafé,b".encode("latin-1"))
    assert problem.startswith("line 2: not UTF-8: byte 0xe9 at offset 21 of the file.")


def test_an_error_can_cross_processes() -> None:
    import pickle

    with pytest.raises(ExamplesError) as caught:
        read("prompt,completion\na\n,b")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.problems == caught.value.problems


@pytest.mark.parametrize("filename", ["x.jsonl", "x.csv", "x"])
@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \r\n\n"])
def test_empty_files(data: bytes, filename: str) -> None:
    (problem,) = problems(data, filename)
    assert problem == "the file is empty. Add a line for each example."


@pytest.mark.parametrize(
    ("data", "filename", "said"),
    [
        (b'[{"prompt":"a"}]', "x.json", "jq -c"),
        (b"hello", "x.jsonl", "broken JSON at column 1"),
        (b"hello", "x", "its columns are: 'hello'"),
    ],
)
def test_other_formats(data: bytes, filename: str, said: str) -> None:
    (problem,) = problems(data, filename)
    assert problem.startswith("line 1: ")
    assert said in problem
