"""Excel sheets: the cells that a CSV would have, every problem with its row, no bombs."""

from __future__ import annotations

import zipfile
from io import BytesIO

import pytest
from tests.platform.examples.workbooks import sheet_data, workbook

from tunesmith.platform.examples import (
    Example,
    ExamplesError,
    ExamplesKind,
    FileFormat,
    check_examples,
    read_examples,
    xlsx_rows,
)
from tunesmith.platform.examples.limits import MAXIMUM_CELLS


def read(data: bytes) -> list[Example]:
    return list(read_examples(BytesIO(data), "t.xlsx"))


def problems(data: bytes, filename: str = "t.xlsx") -> list[str]:
    with pytest.raises(ExamplesError) as error:
        list(read_examples(BytesIO(data), filename))
    return [str(problem) for problem in error.value.problems]


def texts(example: Example) -> list[str]:
    return [message["content"] for message in example.messages]


def test_rows_are_read_with_their_numbers() -> None:
    data = workbook(
        sheet_data(
            [
                [],
                ["Note", " Question ", "ANSWER", "system"],
                ["x", "a <b> & \u00fc\nline two", "1"],
                [],
                ["", "Is it?", True, "Be brief."],
                [None, "How many?", 42],
                [None, "How much?", 1.5],
            ]
        )
    )
    examples = read(data)
    assert [example.line for example in examples] == [3, 5, 6, 7]
    assert [texts(example) for example in examples] == [
        ["a <b> & \u00fc\nline two", "1"],
        ["Be brief.", "Is it?", "TRUE"],
        ["How many?", "42"],
        ["How much?", "1.5"],
    ]
    summary = check_examples(BytesIO(data), "whatever.bin")
    assert (summary.format, summary.examples) == (FileFormat.PAIR_XLSX, 4)


def test_the_first_sheet_with_an_accepted_header_is_read() -> None:
    cover = sheet_data([["Our data"], ["of 2024"]])
    rows = sheet_data([["prompt", "chosen", "rejected"], ["q", "good", "bad"]], start=4)
    data = workbook(cover, "", rows, sheet_data([["input", "output"], ["no", "no"]]))
    (example,) = read(data)
    assert example.line == 5
    assert example.preferred == [{"role": "assistant", "content": "good"}]
    summary = check_examples(BytesIO(data), "t.xlsx")
    assert summary.kind is ExamplesKind.PREFERENCES
    assert summary.format is FileFormat.PREFERENCE_XLSX


def test_shared_texts_are_read() -> None:
    shared = (
        "<si><t>prompt</t></si><si><t>completion</t></si><si><r><t>he</t></r><r><t>y</t></r></si>"
    )
    cells = "".join(
        f'<row r="{r}"><c r="A{r}" t="s"><v>{a}</v></c><c r="B{r}" t="s"><v>{b}</v></c></row>'
        for r, (a, b) in enumerate([(0, 1), (2, 2)], start=1)
    )
    assert texts(read(workbook(cells, shared=shared))[0]) == ["hey", "hey"]


def test_all_problems_are_named_with_their_rows() -> None:
    rows: list[list[object]] = [["prompt", "completion"], ["a", "b"], ["", "c"], ["d", "  "], ["e"]]
    said = problems(workbook(sheet_data(rows)))
    assert said[0].startswith("line 3: the prompt is empty")
    assert said[1].startswith("line 4: the completion is empty")
    assert said[2].startswith("line 5: the completion is empty")


def encrypted(data: bytes) -> bytes:
    """The archive with its members' encryption flags set."""
    changed = bytearray(data)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(magic)
        while at >= 0:
            changed[at + offset] |= 1
            at = changed.find(magic, at + 4)
    return bytes(changed)


GOOD = workbook(sheet_data([["prompt", "completion"], ["a", "b"]]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "damaged"),
        (GOOD[:-40], "damaged"),
        (GOOD.replace(b"PK\x01\x02", b"PK\x01\x03"), "damaged"),
        (encrypted(GOOD), "encrypted"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old Excel sheet"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "protected by a password",
        ),
        (workbook(), "empty sheets alone"),
        (workbook("", ""), "empty sheets alone"),
        (workbook(sheet_data([["prompt", "completion"]])), "a header and no rows"),
        (workbook(sheet_data([["prompt", "answr"], ["a", "b"]])), "'S1' has 'prompt', 'answr'"),
        (workbook(sheet_data([["prompt", "Prompt", "completion"]])), "is given 2 times"),
        (workbook('<row r="1"><c r="A1" t="s"><v>7</v></c></row>'), "damaged"),
        (workbook("<row><c></row>"), "damaged"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(data: bytes, said: str) -> None:
    (problem,) = problems(data)
    assert said in problem


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["mimetype", "content.xml"], "OpenDocument"),
        (["xl/workbook.bin"], "binary Excel"),
        (["a.csv", "b.csv"], "an archive ('a.csv', 'b.csv')"),
    ],
)
def test_other_archives_are_refused(names: list[str], said: str) -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    (problem,) = problems(out.getvalue())
    assert said in problem


def test_a_far_cell_does_not_take_the_memory_of_the_rectangle() -> None:
    rows = sheet_data([["prompt", "completion"], ["a", "b"]])
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    (problem,) = problems(workbook(rows + far))
    assert f"{MAXIMUM_CELLS:,} cells" in problem


def test_an_archive_that_bursts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_rows, "MAXIMUM_UNPACKED_BYTES", 2**20)
    (problem,) = problems(workbook("", extra={f"xl/media/{n}": bytes(2**18) for n in range(4)}))
    assert "unpacks to more than 1 MiB" in problem


def test_a_shared_text_that_is_repeated_does_not_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_rows, "MAXIMUM_UNPACKED_BYTES", 2**20)
    cells = "".join(f'<row r="{r}"><c r="A{r}" t="s"><v>0</v></c></row>' for r in range(1, 200))
    (problem,) = problems(workbook(cells, shared=f"<si><t>{'x' * 2**16}</t></si>"))
    assert "unpacks to more than 1 MiB" in problem
