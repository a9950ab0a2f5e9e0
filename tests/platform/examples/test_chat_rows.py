"""What a chat row may hold, what it becomes, and the sentence that a wrong one gets."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from tunesmith.platform.examples import Example, ExamplesError, read_examples

USER = {"role": "user", "content": "My card was charged twice."}
ANSWER = {"role": "assistant", "content": "billing"}
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def read_row(row: object) -> Example:
    (example,) = read_examples(BytesIO(json.dumps(row).encode()), "rows.jsonl")
    return example


def read_messages(*messages: object) -> list[dict[str, Any]]:
    return read_row({"messages": list(messages)}).messages


def refusal(row: object) -> str:
    with pytest.raises(ExamplesError) as caught:
        read_row(row)
    assert caught.value.total == 1
    assert caught.value.problems[0].line == 1
    return caught.value.problems[0].message


def test_plain_chat_is_kept_as_it_is() -> None:
    messages = [{"role": "system", "content": ""}, USER, ANSWER, {**USER, "name": "Ann"}, ANSWER]
    assert read_row({"messages": messages, "id": 7}) == Example(1, messages)


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_roles_of_context(role: str) -> None:
    assert read_messages({"role": role, "content": "x"}, ANSWER)[0]["role"] == role


def test_text_parts_are_joined_as_the_engine_joins_them() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_messages({"role": "user", "content": parts}, ANSWER)[0]["content"] == "a\nb"


def test_fields_without_a_value_are_left_out() -> None:
    dumped: dict[str, Any] = {
        **ANSWER,
        "refusal": None,
        "audio": None,
        "annotations": [],
        "tool_calls": None,
    }
    assert read_messages(USER, dumped) == [USER, ANSWER]


def test_a_refusal_is_an_answer() -> None:
    said = {"role": "assistant", "content": None, "refusal": "I can't."}
    parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I can't."}]}
    assert read_messages(USER, said) == read_messages(USER, parts)
    assert read_messages(USER, said)[1]["content"] == "I can't."


@pytest.mark.parametrize(("weight", "kept"), [(0, 0), (1, 1), (1.0, 1)])
def test_weights(weight: float, kept: int) -> None:
    messages = read_messages(USER, {**ANSWER, "weight": weight}, ANSWER)
    assert messages[1]["weight"] == kept
    assert type(messages[1]["weight"]) is int
    assert "weight" not in messages[2]


def test_tools_calls_and_answers() -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    result = {"role": "tool", "tool_call_id": "c1", "content": "found"}
    example = read_row(
        {
            "messages": [USER, CALLING, result, ANSWER],
            "tools": tools,
            "parallel_tool_calls": False,
        }
    )
    assert example.messages == [USER, {**CALLING, "content": ""}, result, ANSWER]
    assert example.tools == tools
    assert example.parallel_tool_calls is False


@pytest.mark.parametrize("arguments", [None, "", "{}", {}])
def test_arguments_of_a_call_become_a_json_string(arguments: object) -> None:
    call = {"id": "c1", "function": {"name": "find", "arguments": arguments}}
    kept = read_messages(USER, {"role": "assistant", "tool_calls": [call]})[1]["tool_calls"][0]
    assert kept == {**CALL, "function": {"name": "find", "arguments": "{}"}}


def test_deprecated_functions_become_tools() -> None:
    function = {"name": "find", "parameters": {}}
    asking = {"role": "assistant", "function_call": {"name": "find", "arguments": '{"n": 1}'}}
    result = {"role": "function", "name": "find", "content": "found"}
    old = read_row({"messages": [USER, asking, result, ANSWER], "functions": [function]})
    assert old.tools == [{"type": "function", "function": function}]
    call, answer = old.messages[1], old.messages[2]
    assert call["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"n": 1}'}
    assert answer["role"] == "tool"
    assert answer["tool_call_id"] == call["tool_calls"][0]["id"]


IMAGE = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("hello", "`messages` must be a list, and it is a string"),
        (None, "`messages` must be a list, and it is null"),
        ([], "`messages` is empty"),
        ([3, ANSWER], "message 1 must be an object, and it is a number"),
        ([{"content": "x"}, ANSWER], "message 1 has no `role`"),
        ([{"role": "bot", "content": "x"}], "unknown role 'bot'. Use one of system, developer"),
        ([{"role": ["user"], "content": "x"}], "unknown role ['user']"),
        ([USER], "no assistant message"),
        ([USER, {**ANSWER, "weight": 0}], "every assistant message has weight 0"),
        ([USER, {**ANSWER, "weight": 2}], "must be 0 (context only) or 1 (learned), and it is 2"),
        ([USER, {**ANSWER, "weight": True}], "and it is True"),
        ([{**USER, "weight": 1}, ANSWER], "role user and a `weight`, which only an assistant"),
        ([{**USER, "tool_calls": [CALL]}, ANSWER], "role user and a `tool_calls`"),
        ([USER, {"role": "assistant"}], "message 2 (assistant) has no `content`"),
        ([{"role": "user", "content": None}, ANSWER], "message 1 (user) has no `content`"),
        ([{"role": "user", "content": 5}, ANSWER], "and it is a number"),
        ([{"role": "user", "content": []}, ANSWER], "and it is an empty list"),
        ([{"role": "user", "content": ["a"]}, ANSWER], "content part of message 1 must be an obj"),
        ([{"role": "user", "content": [IMAGE]}, ANSWER], "part of type 'image_url'. Only text can"),
        ([{"role": "user", "content": [{"type": "text"}]}, ANSWER], "no `text` string"),
        ([USER, {**ANSWER, "content": " \n"}], "message 2 is an assistant message without text"),
        ([USER, {**ANSWER, "reasoning": "hm"}], "'reasoning', which would not be learned"),
        ([{**USER, "name": ""}, ANSWER], "`name` of message 1 must be a non-empty string"),
        ([USER, {"role": "tool", "content": "x"}, ANSWER], "no `tool_call_id`"),
        ([USER, {"role": "tool", "tool_call_id": "c9", "content": "x"}, ANSWER], "call 'c9'"),
        ([USER, {"role": "function", "name": "f", "content": "x"}, ANSWER], "role function"),
        ([USER, {**ANSWER, "tool_calls": "x"}], "`tool_calls` of message 2 must be a list"),
        ([USER, {**ANSWER, "tool_calls": ["x"]}], "tool call 1 of message 2 must be an object"),
        ([USER, {**ANSWER, "tool_calls": [{**CALL, "type": "mcp"}]}], 'type "function"'),
        ([USER, {**ANSWER, "tool_calls": [{**CALL, "id": None}]}], "has no `id`"),
        ([USER, {**ANSWER, "tool_calls": [CALL, CALL]}], "`id` of another call"),
        ([USER, {**ANSWER, "tool_calls": [{**CALL, "function": {}}]}], "does not name its func"),
        (
            [USER, {**ANSWER, "function_call": {"name": "f", "arguments": "[1]"}}],
            "must be a JSON object written as a string",
        ),
        ([{"role": "user", "content": "a\0b"}, ANSWER], "U+0000"),
        ([{"role": "user", "content": "a\ud83d"}, ANSWER], "\\ud83d, half of a surrogate pair"),
    ],
)
def test_wrong_messages(messages: object, said: str) -> None:
    assert said in refusal({"messages": messages})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tools": {"a": 1}}, "`tools` must be a list"),
        ({"functions": {"a": 1}}, "`functions` must be a list"),
        ({"tools": [1], "functions": [1]}, "both `tools` and `functions`"),
        ({"tools": [{"type": "web_search"}]}, "no other type of tool can be learned"),
        ({"tools": [{"type": "function"}]}, "tool 1 has no `function` with a `name`"),
        ({"functions": [{"name": "f", "parameters": "x"}]}, "must be a JSON schema object"),
        ({"functions": [{"name": "f", "description": "\ud800"}]}, "surrogate"),
        ({"parallel_tool_calls": "yes"}, "`parallel_tool_calls` must be true or false"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], said: str) -> None:
    assert said in refusal({"messages": [USER, ANSWER], **fields})


def test_a_schema_nested_beyond_reason() -> None:
    schema: dict[str, Any] = {}
    for _ in range(80):
        schema = {"items": schema}
    assert "nested more than 64 deep" in refusal(
        {"messages": [USER, ANSWER], "functions": [{"name": "f", "parameters": schema}]}
    )
