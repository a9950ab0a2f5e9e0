"""Preferences: OpenAI's form and tables, what they become, and what is refused with its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from io import BytesIO, StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.examples import (
    Example,
    ExamplesError,
    ExamplesKind,
    FileFormat,
    check_examples,
    read_examples,
    read_normalised,
    write_normalised,
)

UNTIMED = settings(deadline=None)  # a busy machine is no failure

USER = {"role": "user", "content": "My card was charged twice."}
GOOD = {"role": "assistant", "content": "I am sorry. I return one of them."}
BAD = {"role": "assistant", "content": "So what?"}
ROW: dict[str, Any] = {
    "input": {"messages": [USER]},
    "preferred_output": [GOOD],
    "non_preferred_output": [BAD],
}
CHAT: dict[str, Any] = {"messages": [USER, GOOD]}
TOOLS = [{"type": "function", "function": {"name": "refund", "parameters": {"type": "object"}}}]


def calling(call_id: str, arguments: str) -> dict[str, Any]:
    call = {"id": call_id, "type": "function"}
    function = {"name": "refund", "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{**call, "function": function}]}


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read_row(row: object) -> Example:
    (example,) = read_examples(BytesIO(lines(row)), "rows.jsonl")
    return example


def problems(data: bytes, filename: str = "rows.jsonl") -> list[str]:
    with pytest.raises(ExamplesError) as caught:
        check_examples(BytesIO(data), filename)
    return [str(problem) for problem in caught.value.problems]


def stored(data: bytes, filename: str = "rows.jsonl") -> tuple[bytes, list[Example]]:
    out = BytesIO()
    write_normalised(BytesIO(data), filename, out)
    return out.getvalue(), list(read_normalised(BytesIO(out.getvalue())))


def test_openais_form() -> None:
    row = {**ROW, "input": {"messages": [USER], "tools": TOOLS, "parallel_tool_calls": False}}
    assert read_row(row) == Example(1, [USER], TOOLS, False, [GOOD], [BAD])


def test_a_summary_says_what_a_file_holds() -> None:
    summary = check_examples(BytesIO(lines(ROW, ROW)), "x")
    assert summary.kind is ExamplesKind.PREFERENCES
    assert summary.format is FileFormat.PREFERENCE_JSONL
    assert (summary.examples, summary.messages, summary.learned) == (2, 6, 2)
    assert check_examples(BytesIO(lines(CHAT)), "x").kind is ExamplesKind.CHAT


def test_an_answer_may_be_a_call_and_the_other_words() -> None:
    call = calling("c1", "{}")
    example = read_row({**ROW, "preferred_output": [{**call, "content": None}]})
    assert example.preferred == [call]
    assert example.rejected == [BAD]


def test_nothing_of_the_input_has_a_weight() -> None:
    said = [USER, {**GOOD, "weight": 1}, USER, {**GOOD, "weight": 0}, USER]
    example = read_row({**ROW, "input": {"messages": said}})
    assert example.messages == [USER, GOOD, USER, GOOD, USER]
    assert read_row({**ROW, "preferred_output": [{**GOOD, "weight": 1}]}).preferred == [GOOD]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": USER["content"], "chosen": GOOD["content"], "rejected": BAD["content"]},
        {"Prompt": [USER], "chosen ": [GOOD], "REJECTED": [BAD], "score": 3},
        {"line": 9, "messages": [USER], "preferred": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": [GOOD], "rejected": BAD["content"], "system": None},
    ],
)
def test_other_forms_mean_the_same(row: dict[str, Any]) -> None:
    assert read_row(row) == read_row(ROW)


@pytest.mark.parametrize(("delimiter", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\n")])
def test_a_table(delimiter: str, end: str) -> None:
    rows = ["id|Rejected|prompt|chosen|system", "1|b|a|c|s", '2|"d\n"|"e"|f|']
    data = end.join(rows).replace("|", delimiter).encode()
    first, second = read_examples(BytesIO(data), "x.csv")
    system = {"role": "system", "content": "s"}
    assert first.messages == [system, {"role": "user", "content": "a"}]
    assert first.preferred == [{"role": "assistant", "content": "c"}]
    assert first.rejected == [{"role": "assistant", "content": "b"}]
    assert (second.line, second.rejected) == (3, [{"role": "assistant", "content": "d\n"}])
    summary = check_examples(BytesIO(data), "x.csv")
    assert (summary.kind, summary.format) == (ExamplesKind.PREFERENCES, FileFormat.PREFERENCE_CSV)


def test_a_header_after_empty_cells_still_decides_the_kind() -> None:
    summary = check_examples(BytesIO(b",,\nprompt,chosen,rejected\na,b,c\n"), "x.csv")
    assert summary.kind is ExamplesKind.PREFERENCES


def test_two_answers_beside_a_completion_are_a_preference() -> None:
    data = b"prompt,completion,chosen,rejected\na,x,b,c\n"
    (example,) = read_examples(BytesIO(data), "x.csv")
    assert example.kind is ExamplesKind.PREFERENCES


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"prompt,chosen,rejected\na,b,c\na,b,b\n", "line 3: `chosen` and `rejected` are the same"),
        (b"prompt,chosen,rejected\na,,c\n", "line 2: the chosen is empty"),
        (b"prompt,chosen,rejected\n,b,c\n", "line 2: the prompt is empty"),
        (b"prompt,chosen\na,b\n", "or prompt/chosen/rejected; its columns are: 'prompt', 'chosen'"),
        (b"prompt,chosen,rejected,chosen\na,b,c,d\n", "line 1: the name chosen is given 2 times"),
    ],
)
def test_wrong_tables(data: bytes, said: str) -> None:
    (problem,) = problems(data, "x.csv")
    assert said in problem


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input": None}, "`input` must be an object with `messages`, and it is null"),
        ({"input": {}}, "`input` has no `messages`"),
        ({"input": {"messages": []}}, "`input.messages` is empty"),
        ({"input": {"messages": {}}}, "`input.messages` must be a list, and it is an object"),
        ({"input": {"messages": [USER, GOOD]}}, "ends with a message of the role assistant"),
        (
            {"input": {"messages": [USER, {"role": "cat", "content": "miau"}]}},
            "message 2 of `input.messages` has the unknown role 'cat'",
        ),
        (
            {"input": {"messages": [USER], "parallel_tool_calls": 1}},
            "`parallel_tool_calls` must be true or false",
        ),
        ({"tools": TOOLS}, "`tools` stands beside `input`. Put it inside"),
        ({"preferred_output": None}, "`preferred_output` must be a list of one assistant message"),
        ({"preferred_output": []}, "one assistant message, and it is 0 messages"),
        ({"non_preferred_output": [BAD, BAD]}, "one assistant message, and it is 2 messages"),
        ({"non_preferred_output": [USER]}, "must be an assistant message; its role is user"),
        ({"non_preferred_output": ["x"]}, "message 1 of `non_preferred_output` must be an object"),
        ({"preferred_output": [{**GOOD, "weight": 0}]}, "has weight 0. Remove the weight"),
        ({"preferred_output": [{**GOOD, "content": " "}]}, "has no text. Write the answer"),
        ({"preferred_output": [BAD]}, "are the same answer, so there is nothing to prefer"),
        (
            {
                "preferred_output": [calling("c1", '{"n":1,"m":2}')],
                "non_preferred_output": [calling("c2", '{"m": 2, "n": 1}')],
            },
            "are the same answer",
        ),
        ({"preferred_output": [{**GOOD, "content": "\ud800"}]}, "half of a surrogate pair"),
    ],
)
def test_wrong_rows(change: dict[str, Any], said: str) -> None:
    (problem,) = problems(lines(ROW, {**ROW, **change}))
    assert problem.startswith("line 2: ")
    assert said in problem


def test_calls_that_differ_in_their_arguments_are_two_answers() -> None:
    preferred, rejected = calling("c", '{"n": 1}'), calling("c", '{"n": 2}')
    row = {**ROW, "preferred_output": [preferred], "non_preferred_output": [rejected]}
    assert read_row(row).rejected == [rejected]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROW, ROW, CHAT], "line 3: this is a chat, and the example in line 1 is a preference."),
        ([CHAT, CHAT, ROW, CHAT, ROW], "line 3: this is a preference, and the example in line 1"),
        (
            [{"prompt": "a", "completion": "b"}, {"prompt": "a", "chosen": "b", "rejected": "c"}],
            "line 2: this is a preference, and the example in line 1 is a chat.",
        ),
    ],
)
def test_a_file_holds_one_kind(rows: Sequence[dict[str, Any]], said: str) -> None:
    (problem,) = problems(lines(*rows))
    assert problem.startswith(said)


def test_what_is_wrong_beside_a_mixture_is_said_too() -> None:
    found = problems(lines({**ROW, "input": 1}, CHAT, CHAT, {**ROW, "input": 2}))
    assert [problem.split(":")[0] for problem in found] == ["line 1", "line 2", "line 4"]


def test_canonical_line() -> None:
    data, _ = stored(b"prompt,chosen,rejected\na,b,c\n", "x.csv")
    assert data.decode() == (
        '{"line":2,"messages":[{"role":"user","content":"a"}],'
        '"preferred":[{"role":"assistant","content":"b"}],'
        '"rejected":[{"role":"assistant","content":"c"}]}\n'
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
SAID = TEXT.filter(lambda text: bool(text.strip()))


@st.composite
def preferences(draw: st.DrawFn) -> tuple[dict[str, Any], Example]:
    """A row in OpenAI's form, and the example that it must become."""
    context: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 2))):
        context += [
            {"role": "user", "content": draw(TEXT)},
            {"role": "assistant", "content": draw(TEXT)},
        ]
    context.append({"role": "user", "content": draw(TEXT)})
    answer = st.one_of(
        SAID.map(lambda text: {"role": "assistant", "content": text}),
        st.dictionaries(TEXT, st.integers() | TEXT, max_size=2).map(
            lambda arguments: calling("c", json.dumps(arguments))
        ),
    )
    preferred = draw(answer)
    rejected = draw(answer.filter(lambda other: other != preferred))
    given: dict[str, Any] = {"messages": context}
    tools = TOOLS if draw(st.booleans()) else None
    if tools:
        given["tools"] = tools
    row = {"input": given, "preferred_output": [preferred], "non_preferred_output": [rejected]}
    return row, Example(1, context, tools, None, [preferred], [rejected])


@UNTIMED
@given(st.lists(preferences(), min_size=1, max_size=4), st.booleans())
def test_any_preference_comes_back(
    rows: list[tuple[dict[str, Any], Example]], ascii_only: bool
) -> None:
    data = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row, _ in rows).encode()
    expected = [
        Example(line, e.messages, e.tools, None, e.preferred, e.rejected)
        for line, (_, e) in enumerate(rows, start=1)
    ]
    assert list(read_examples(BytesIO(data), "x")) == expected
    kept, read = stored(data)
    assert read == expected
    # Normal form is a valid upload of its own, and normalising it changes nothing.
    assert stored(kept) == (kept, read)


@UNTIMED
@given(st.lists(st.tuples(SAID, SAID, SAID), min_size=1, max_size=5), st.sampled_from(",;\t"))
def test_any_table_comes_back(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    out = StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, delimiter=delimiter)
    writer.writerows([("prompt", "chosen", "rejected"), *rows])
    plain = [tuple(cell.replace("\r\n", "\n") for cell in row) for row in rows]
    same = [number for number, (_, chosen, rejected) in enumerate(plain) if chosen == rejected]
    data = out.getvalue().encode()
    if same:
        assert len(problems(data, "x.csv")) == min(len(same), 10)
        return
    _, kept = stored(data, "x.csv")
    assert [
        (e.messages[0]["content"], e.preferred[0]["content"], e.rejected[0]["content"])
        for e in kept
        if e.preferred and e.rejected
    ] == plain
