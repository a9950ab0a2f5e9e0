"""Redacted copies: complete, consistent, valid examples again, and never over another file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.data_report.pii import find_pii
from tunesmith.platform.data_report.pii_kinds import PiiKind
from tunesmith.platform.data_report.redaction import redact
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.examples import ExamplesError, read_examples


def redacted(tmp_path: Path, rows: list[dict[str, Any]] | str, name: str = "in.jsonl") -> Any:
    source = tmp_path / name
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    source.write_text(text, encoding="utf-8")
    out = tmp_path / "out.jsonl"
    summary = redact(source, name, out)
    assert source.read_text(encoding="utf-8") == text
    return summary, [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def chat(*texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]}


def test_a_value_has_one_number_within_an_example(tmp_path: Path) -> None:
    rows = [
        chat(
            "I am Ada@example.org, not bob@example.org. Call +49 30 1234567.",
            "Thanks, ada@example.org! I wrote to bob@example.org and call +49 (30) 1234567.",
        ),
        chat("bob@example.org here", "Hello."),
        chat("Nothing here", "Indeed."),
    ]
    summary, new = redacted(tmp_path, rows)
    assert [m["content"] for m in new[0]["messages"]] == [
        "I am [EMAIL_1], not [EMAIL_2]. Call [PHONE_1].",
        "Thanks, [EMAIL_1]! I wrote to [EMAIL_2] and call [PHONE_1].",
    ]
    assert new[1]["messages"][0]["content"] == "[EMAIL_1] here"
    assert new[2] == rows[2]
    assert (summary.examples, summary.changed) == (3, 2)
    assert summary.replaced == {PiiKind.EMAIL: 5, PiiKind.PHONE: 2}


def test_calls_of_tools_stay_json(tmp_path: Path) -> None:
    arguments = {"to": 'a"b <x@example.org>', "phone": 2025550123, "n": 3, "deep": [{"pin": None}]}
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "send", "arguments": json.dumps(arguments)},
    }
    untouched = {
        "id": "c2",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":  1}'},
    }
    row = {
        "messages": [
            {"role": "user", "content": "Write to x@example.org"},
            {"role": "assistant", "tool_calls": [call, untouched]},
        ],
        "tools": [{"type": "function", "function": {"name": "send", "parameters": {}}}],
        "parallel_tool_calls": True,
    }
    _, [new] = redacted(tmp_path, [row])
    calls = new["messages"][1]["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {
        "to": 'a"b <[EMAIL_1]>',
        "phone": "[PHONE_1]",
        "n": 3,
        "deep": [{"pin": None}],
    }
    assert calls[1] == untouched
    assert new["tools"] == row["tools"]
    assert new["parallel_tool_calls"] is True


def test_preferences_are_written_in_their_format(tmp_path: Path) -> None:
    text = "prompt,chosen,rejected\nmail a@example.org?,yes a@example.org,no b@example.org\n"
    summary, [new] = redacted(tmp_path, text, "in.csv")
    assert new == {
        "input": {"messages": [{"role": "user", "content": "mail [EMAIL_1]?"}]},
        "preferred_output": [{"role": "assistant", "content": "yes [EMAIL_1]"}],
        "non_preferred_output": [{"role": "assistant", "content": "no [EMAIL_2]"}],
    }
    assert summary.replaced == {PiiKind.EMAIL: 3}


def test_the_copy_reads_back_without_personal_data(tmp_path: Path) -> None:
    rows = [
        chat(
            f"I am user{n}@example.org, card 4111 1111 1111 1111", f"IP 10.0.{n}.7, 123-45-67{n:02}"
        )
        for n in range(20)
    ]
    _, new = redacted(tmp_path, rows)
    with (tmp_path / "out.jsonl").open("rb") as stream:
        examples = list(read_examples(stream, "out.jsonl"))
    assert [example.messages for example in examples] == [row["messages"] for row in new]
    assert all(not find_pii(m["content"]) for example in examples for m in example.messages)


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(chat("a@example.org", "Hi.")) + "\n{broken\n")
    with pytest.raises(ExamplesError, match="line 2"):
        redact(source, "in.jsonl", out)
    assert list(tmp_path.iterdir()) == [source]
    with pytest.raises(InvalidRequest, match="exists already"):
        redact(source, "in.jsonl", source)
    out.write_text("mine")
    with pytest.raises(InvalidRequest, match="exists already"):
        redact(source, "in.jsonl", out)
    assert out.read_text() == "mine"
    with pytest.raises(InvalidRequest, match="no folder"):
        redact(source, "in.jsonl", tmp_path / "none" / "out.jsonl")
